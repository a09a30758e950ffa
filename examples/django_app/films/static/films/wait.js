// the page has no player yet: look again in a moment
if (document.querySelector(".rindle-video[role=status]")) {
  setTimeout(() => location.reload(), 3000);
}
