// Refreshes the page while it is visible, and helps to select; everything works without it.
"use strict";
const EVERY = 5000;
const COUNTING = 1000;
const TIMEOUT = 60000;
const live = document.getElementById("live");
const main = document.getElementById("main");

function isBusy() {
  const selected = String(document.getSelection() || "");
  const isOpen = main.querySelector("input[type=checkbox]:checked, details[open]") !== null;
  return document.hidden || selected !== "" || isOpen || (document.activeElement !== main && main.contains(document.activeElement));
}

// only what differs is replaced: a screen reader is told of nothing that stayed as it was
function update(here, there) {
  const now = [...here.children], then = [...there.children];
  if (now.length !== then.length) {
    here.replaceChildren(...there.childNodes);
    return;
  }
  now.forEach((part, place) => {
    if (part.outerHTML !== then[place].outerHTML) part.replaceWith(then[place]);
  });
}

async function refresh() {
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(TIMEOUT) });
    if (!answer.ok && answer.status !== 401) throw new Error("no page");
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (isBusy()) return; // somebody began to do something meanwhile
    const there = fresh.getElementById("main");
    update(main, there);
    main.toggleAttribute("data-counting", there.hasAttribute("data-counting"));
    const time = document.querySelector("footer time");
    time.replaceWith(fresh.querySelector("footer time"));
    prepareSelection();
    live.textContent = "· live";
  } catch {
    live.textContent = "· not live: the service does not answer";
  }
}

// while figures are being counted, they are asked for again sooner
function untilNext() {
  return main.hasAttribute("data-counting") ? COUNTING : EVERY;
}

// the next request waits for the last answer, so that a slow service is not flooded
async function keepFresh() {
  if (!isBusy()) await refresh();
  setTimeout(keepFresh, untilNext());
}

function boxes(name) {
  return [...main.querySelectorAll(`input[type=checkbox][name=${name}]`)];
}

function count(name) {
  const told = main.querySelector(`[data-count=${name}]`);
  const chosen = boxes(name).filter((box) => box.checked).length;
  if (told) told.textContent = chosen ? `${chosen} selected` : "";
}

function prepareSelection() {
  for (const button of main.querySelectorAll("button[data-select]")) {
    button.hidden = boxes(button.dataset.select).length === 0;
  }
}

main.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-select]");
  if (!button) return;
  const all = boxes(button.dataset.select);
  const isOn = all.some((box) => !box.checked);
  for (const box of all) box.checked = isOn;
  count(button.dataset.select);
});
main.addEventListener("change", (event) => {
  if (event.target.type === "checkbox") count(event.target.name);
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea, iframe");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.getElementById("search");
  if (!search) return;
  event.preventDefault();
  search.focus();
});

prepareSelection();
if (document.body.dataset.live !== "no") {
  live.textContent = "· live";
  setTimeout(keepFresh, untilNext());
}
