// Refreshes the page while it is visible; everything works without it.
"use strict";
const EVERY = 5000;
const TIMEOUT = 60000;
const live = document.getElementById("live");

function isBusy() {
  const main = document.getElementById("main");
  const selected = String(document.getSelection() || "");
  return document.hidden || selected !== "" || (document.activeElement !== main && main.contains(document.activeElement));
}

async function refresh() {
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(TIMEOUT) });
    if (!answer.ok && answer.status !== 401) throw new Error("no page");
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["main", "footer"]) {
      const here = document.querySelector(part), there = fresh.querySelector(part);
      if (here && there && here.innerHTML !== there.innerHTML) here.replaceChildren(...there.childNodes);
    }
    document.getElementById("live").textContent = "· live";
  } catch {
    document.getElementById("live").textContent = "· not live: the service does not answer";
  }
}

// the next request waits for the last answer, so that a slow service is not flooded
async function keepFresh() {
  if (!isBusy()) await refresh();
  setTimeout(keepFresh, EVERY);
}

live.textContent = "· live";
setTimeout(keepFresh, EVERY);
