const form = document.getElementById("upload");
const progress = document.getElementById("progress");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const made = await fetch(form.action, {method: "POST", body: new FormData(form)});
  if (!made.ok) {
    progress.value = "The film could not be created. Try again.";
    return;
  }
  const {page, url} = await made.json();
  progress.value = "Uploading …";
  // straight to the provider: the file never comes to this server
  const file = document.getElementById("file").files[0];
  const sent = await fetch(url, {method: "PUT", body: file}).catch(() => ({ok: false}));
  if (!sent.ok) {
    progress.value = "The upload failed. Try again.";
    return;
  }
  location.assign(page);
});
