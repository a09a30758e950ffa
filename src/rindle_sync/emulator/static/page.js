// Shows what the emulator has, twice a second, and sets it up through the same paths as any program.

const EVERY = 500;
const byId = (id) => document.getElementById(id);
const ENDINGS = ["ready", "errored", "deleted"];

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

async function post(path, body) {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function say(text) {
  byId("said").textContent = text;
}

async function act(path, body, done) {
  try {
    say(done(await post(path, body)));
  } catch (error) {
    say(`It was not done: ${error.message}`);
  }
  await show();
}

function endings(asset) {
  const cell = element("td");
  for (const ends of ENDINGS) {
    const isOver = asset.state === "deleted" || (asset.state !== "preparing" && ends !== "deleted");
    if (isOver) continue;
    const button = element("button", ends, { type: "button", "aria-label": `${asset.id}: ${ends}` });
    button.addEventListener("click", () =>
      act("_emulator/end", { id: asset.id, ends }, () => `${asset.id} is ${ends} now.`),
    );
    cell.append(button);
  }
  return cell;
}

function line(asset) {
  const row = element("tr");
  const state = element("td");
  state.append(element("span", asset.state, { "data-state": asset.state }));
  row.append(
    element("td", asset.id),
    state,
    element("td", asset.created_at),
    element("td", asset.passthrough ?? ""),
    element("td", asset.playback_ids.join(", ")),
    endings(asset),
  );
  return row;
}

let shown = "";

async function show() {
  const text = await (await fetch("_emulator/overview")).text();
  // the table stays as it is while nothing changes: else the focus would be lost
  if (text === shown) return;
  shown = text;
  const now = JSON.parse(text);
  const counts = {
    Assets: now.total,
    "API calls": now.calls,
    "Calls answered 429": now.throttled,
    "Webhook endpoints": now.webhooks.endpoints.length,
    "Webhooks waiting": now.webhooks.pending,
    "Webhooks answered": now.webhooks.answered,
    "Active faults": now.faults.join(", ") || "none",
  };
  byId("counts").replaceChildren(
    ...Object.entries(counts).map(([name, value]) => {
      const box = element("div");
      box.append(element("dt", name), element("dd", value));
      return box;
    }),
  );
  byId("none").hidden = now.total > 0;
  document.querySelector("table").hidden = now.total === 0;
  byId("assets").replaceChildren(...now.assets.map(line));
  byId("assets-title").textContent =
    now.total > now.assets.length ? `The newest ${now.assets.length} assets` : "Assets";
}

byId("create").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const body = { life: { ends: form.get("ends"), after: Number(form.get("after")) } };
  if (form.get("passthrough")) body.passthrough = form.get("passthrough");
  act("_emulator/assets", body, ({ ids }) => `${ids[0]} is preparing.`);
});
byId("base").textContent = new URL(".", location.href).href.replace(/\/$/, "");

async function keepShowing() {
  try {
    await show();
  } catch {
    say("The emulator does not answer.");
  }
  setTimeout(keepShowing, EVERY);
}

keepShowing();
