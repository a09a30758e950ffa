// A client of rindle-sync's HTTP API. Node 18 or newer, no packages.

export class RindleError extends Error {
  constructor(problem, status) {
    super(problem.detail ?? problem.title ?? `rindle-sync answered ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

export class Rindle {
  constructor(address, token) {
    this.address = `${address.replace(/\/$/, "")}/api/v1`;
    this.token = token;
  }

  async call(method, path, { body, query = {}, idempotencyKey } = {}) {
    const url = new URL(this.address + path);
    for (const [name, value] of Object.entries(query)) url.searchParams.append(name, value);
    const headers = { authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    if (idempotencyKey) headers["idempotency-key"] = idempotencyKey;
    const response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      // no call of rindle-sync takes longer: a sync waits for the provider
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json");
    const answer = text && isJson ? JSON.parse(text) : {};
    if (!response.ok) throw new RindleError(answer, response.status);
    return answer;
  }

  // The film's id is the idempotency key: a click that is sent twice makes one upload.
  beginUpload(reference, corsOrigin) {
    const body = { reference, cors_origin: corsOrigin };
    return this.call("POST", "/uploads", { body, idempotencyKey: `upload-${reference}` });
  }

  find(reference) {
    return this.call("GET", "/assets", { query: { reference } });
  }

  sync(rowId) {
    return this.call("POST", `/assets/${rowId}/sync`);
  }

  // The names of the attributes of <mux-player>, with tokens where the video is signed.
  playbackBundle(rowId) {
    const soon = new Date(Date.now() + 3_600_000).toISOString();
    return this.call("GET", `/assets/${rowId}/playback-bundle`, { query: { expires_at: soon } });
  }
}
