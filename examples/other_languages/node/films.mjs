// The app's own table of films: one JSON file, replaced as a whole. Yours is a database.

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

export class Films {
  constructor(path) {
    this.path = path;
    this.films = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  }

  all() {
    return Object.values(this.films);
  }

  get(id) {
    return this.films[id];
  }

  put(film) {
    this.films[film.id] = film;
    writeFileSync(`${this.path}.new`, JSON.stringify(this.films, null, 2));
    renameSync(`${this.path}.new`, this.path);
  }

  // A webhook may come twice: a change is applied once, since its version is greater then.
  apply(change) {
    const film = this.films[change.reference];
    if (!film || film.version >= change.version) return false;
    this.put({
      ...film,
      version: change.version,
      state: change.state,
      rowId: change.row_id,
      title: change.asset?.title ?? film.title,
      duration: change.asset?.duration ?? null,
    });
    return true;
  }
}
