// A video site in Node: uploads to Mux, plays with Mux's player, and hears of each change.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

import { Films } from "./films.mjs";
import { Rindle, RindleError } from "./rindle.mjs";
import { NotGenuine, verified } from "./verify.mjs";

const MOST_BYTES = 256 * 1024;
const PLAYER_URL = process.env.PLAYER_URL ?? "https://cdn.jsdelivr.net/npm/@mux/mux-player";
const port = Number(process.env.PORT ?? 3000);
const secret = needed("WEBHOOK_SECRET");
const rindle = new Rindle(process.env.SYNC_URL ?? "http://127.0.0.1:8000", needed("SYNC_TOKEN"));
const films = new Films(process.env.FILMS ?? "films.json");

function needed(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`set ${name}: README.md says where it comes from`);
  process.exit(2);
}

function escaped(value) {
  const text = String(value ?? "");
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function page(title, content) {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escaped(title)}</title>
<h1>${escaped(title)}</h1>${content}</html>`;
}

function send(response, status, body, type = "text/html; charset=utf-8") {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

async function read(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > MOST_BYTES) throw Object.assign(new Error("the body is too large"), { status: 413 });
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function listed(response) {
  const items = films.all().map((film) => {
    const title = escaped(film.title);
    return `<li><a href="/films/${encodeURIComponent(film.id)}">${title}</a>: ${film.state}</li>`;
  });
  const form = `<form method="post" action="/films"><label>Title <input name="title" required></label>
<button>New film</button></form>`;
  send(response, 200, page("Films", `<ul>${items.join("")}</ul>${form}`));
}

async function created(request, response) {
  const form = new URLSearchParams((await read(request)).toString());
  const film = { id: randomUUID(), title: form.get("title") ?? "", state: "pending", version: 0 };
  films.put(film); // before the call: a webhook may come at once
  const upload = await rindle.beginUpload(film.id, `http://${request.headers.host}`);
  const answer = { id: film.id, upload_url: upload.upload_url };
  send(response, 201, JSON.stringify(answer), "application/json");
}

async function shown(film, response) {
  if (film.state !== "ready") {
    send(response, 200, page(film.title, `<p>This film is ${escaped(film.state)}.</p>`));
    return;
  }
  const bundle = await rindle.playbackBundle(film.rowId);
  const attributes = [`playback-id="${escaped(bundle.playback_id)}"`];
  for (const [name, token] of Object.entries(bundle.tokens ?? {})) {
    attributes.push(`${escaped(name)}-token="${escaped(token)}"`);
  }
  const player = `<script type="module" src="${escaped(PLAYER_URL)}"></script>
<mux-player ${attributes.join(" ")} metadata-video-title="${escaped(film.title)}"></mux-player>`;
  send(response, 200, page(film.title, player));
}

async function heard(request, response) {
  const event = verified(request.headers, await read(request), secret);
  const isNew = films.apply(event.data);
  const about = event.data.reference ?? ""; // the test of an operator is about no film
  console.log(`${event.type} ${about} ${isNew ? "applied" : "passed by"}`);
  response.writeHead(204).end();
}

async function answer(request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  const film = films.get(decodeURIComponent(pathname.replace(/^\/films\//, "")));
  if (request.method === "POST" && pathname === "/webhooks/rindle") await heard(request, response);
  else if (request.method === "POST" && pathname === "/films") await created(request, response);
  else if (request.method === "GET" && pathname === "/") listed(response);
  else if (request.method === "GET" && film) await shown(film, response);
  else send(response, 404, page("Not found", ""));
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    const isOurs = error instanceof NotGenuine || error instanceof RindleError || error.status;
    if (!isOurs) console.error(error);
    const status = error instanceof NotGenuine ? 400 : error instanceof RindleError ? 502 : error.status;
    if (!response.headersSent) send(response, status ?? 500, page("Sorry", escaped(error.message)));
  });
});
server.listen(port, "127.0.0.1", () => {
  console.log(`films at http://127.0.0.1:${server.address().port}`);
});
process.on("SIGTERM", () => server.close(() => process.exit(0)));
