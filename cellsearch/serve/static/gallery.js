// The cells of a sample, a page at a time, sorted and filtered by the server.

import { address, ask, Gone, isHere, Refusal } from "./api.js";
import { byId, count, el, many, percent } from "./dom.js";
import { colour, doubt, mark } from "./marks.js";

export const PAGE = 60;

/** The gallery; `hooks.open(place)` opens a cell, `hooks.problem(error)` tells of a refusal. */
export class Gallery {
  constructor(hooks) {
    this.hooks = hooks;
    this.card = null;
    this.id = null;
    this.cells = [];
    this.total = 0;
    this.offset = 0;
    this.asked = 0;
    this.contrast = 0;
    this.heading = null;
    this.latest = Promise.resolve(false);
    this.current = 0;
    this.list = byId("cells");
    this.wire();
  }

  /** Take the card: its classes and channels become choices. */
  setCard(card) {
    this.card = card;
    // The server draws red, green and blue as one picture.
    this.colours = JSON.stringify(card.channels) === '["red","green","blue"]';
    byId("sort").replaceChildren(
      option("input:asc", "input order"),
      option("confidence:asc", "confidence, lowest first"),
      option("confidence:desc", "confidence, highest first"),
      option("class:asc", "class"),
      option("id:asc", "name"),
      el("optgroup", { label: "most probable first" }, ...card.classes.map((name) => option(`p:${name}:desc`, `probability of ${name}`))),
    );
    byId("class").replaceChildren(option("", "all classes"), ...card.classes.map((name) => option(name, name)));
    const channels = card.channels.length > 1 ? ["montage", ...card.channels] : card.channels;
    byId("channel").replaceChildren(...channels.map((name) => option(name, name === "montage" ? (this.colours ? "colour" : "all, side by side") : name)));
    byId("channel-label").hidden = channels.length < 2;
    byId("uncertain-label").hidden = !card.abstention;
  }

  /** Show a sample from its first cell on; null for none. */
  async setSample(id) {
    this.id = id;
    this.offset = 0;
    this.current = 0;
    if (id) {
      await this.load({ offset: 0, current: 0 });
      return;
    }
    // An answer still on its way is of the sample before.
    this.asked += 1;
    this.heading = null;
    this.latest = Promise.resolve(false);
    this.list.removeAttribute("aria-busy");
    this.cells = [];
    this.total = 0;
    this.fill([]);
  }

  /** Address of a cell's picture. */
  picture(index, channel) {
    // With another contrast it is another picture, whatever the browser has kept.
    return address(`samples/${this.id}/cells/${index}/image.png?${new URLSearchParams({ channel, contrast: this.contrast })}`);
  }

  get channel() {
    return byId("channel").value;
  }

  get filtered() {
    return byId("class").value !== "" || byId("uncertain").checked || byId("min").valueAsNumber > 0 || byId("max").valueAsNumber < 100;
  }

  question(offset = this.offset, limit = PAGE) {
    const chosen = byId("sort").value;
    const cut = chosen.lastIndexOf(":");
    const asked = { sort: chosen.slice(0, cut), order: chosen.slice(cut + 1), offset, limit };
    if (byId("class").value) asked.class = byId("class").value;
    if (byId("uncertain").checked) asked.decision = "uncertain";
    const [low, high] = [bounded(byId("min"), 0), bounded(byId("max"), 100)];
    if (low > 0) asked.min = low / 100;
    if (high < 100) asked.max = high / 100;
    return `samples/${this.id}/cells?${new URLSearchParams(asked)}`;
  }

  /** Ask for a page of cells and draw it; false where it was not drawn.
   *
   * Where another asking overtakes it, that one keeps to the page that was to be turned to, and its
   * end is the end of both.
   */
  load({ focus = false, offset = this.heading?.offset ?? this.offset, current = this.heading?.current ?? null } = {}) {
    if (!this.id) return Promise.resolve(false);
    this.heading = { offset, current };
    this.latest = this.loaded(focus, offset, current);
    return this.latest;
  }

  async loaded(focus, offset, current) {
    this.asked += 1;
    const mine = this.asked;
    this.list.setAttribute("aria-busy", "true");
    try {
      let found = await ask(this.question(offset));
      if (mine !== this.asked) return this.latest;
      if (!found.cells.length && offset) {
        offset = 0;
        found = await ask(this.question(offset));
        if (mine !== this.asked) return this.latest;
      }
      // Cells that came meanwhile move the others: whoever stands on one stays on it.
      const stood = this.cells[this.current]?.index;
      const again = found.cells.findIndex((cell) => cell.index === stood);
      const place = current ?? (again < 0 ? this.current : again);
      this.cells = found.cells;
      this.total = found.total;
      this.contrast = found.contrast;
      this.offset = offset;
      this.current = Math.min(place, Math.max(0, this.cells.length - 1));
      this.draw();
      if (focus) this.focus(this.current);
      return true;
    } catch (error) {
      if (mine !== this.asked) return this.latest;
      if (!(error instanceof Gone || error instanceof Refusal)) throw error;
      if (error instanceof Refusal) this.hooks.problem(error);
      return false;
    } finally {
      if (mine === this.asked) {
        this.heading = null;
        this.list.removeAttribute("aria-busy");
      }
    }
  }

  draw() {
    const parts = this.channel === "montage" && !this.colours ? this.card.channels.length : 1;
    this.list.style.setProperty("--aspect", (parts * this.card.width) / this.card.height);
    // Whoever stands on a tile when an answer comes would be thrown to the top of the page.
    const held = this.list.contains(document.activeElement);
    this.fill(this.cells.map((cell, place) => this.tile(cell, place)));
    if (held) this.focus(this.current);
    byId("none").hidden = this.total > 0;
    byId("reset").hidden = !this.filtered;
    byId("keys").hidden = !this.cells.length;
    const last = this.offset + this.cells.length;
    const what = this.filtered ? "that fit the filters" : "";
    byId("gallery-count").textContent = this.total
      ? `${count(this.offset + 1)} to ${count(last)} of ${many(this.total, "cell")} ${what}`.trim()
      : this.filtered ? "No cell fits these filters." : "";
    const pages = Math.ceil(this.total / PAGE);
    const page = Math.floor(this.offset / PAGE) + 1;
    byId("pages").hidden = pages < 2;
    byId("place").textContent = `Page ${count(page)} of ${count(pages)}`;
    for (const name of ["first", "previous"]) byId(name).disabled = page <= 1;
    for (const name of ["next", "last"]) byId(name).disabled = page >= pages;
    // The button that was pressed may be of no use now.
    if (pages > 1 && document.activeElement?.disabled) byId(page > 1 ? "previous" : "next").focus();
    this.hooks.drawn();
  }

  fill(tiles) {
    // A picture that is taken off the page goes on loading, before those that are wanted now.
    for (const image of this.list.querySelectorAll("img")) if (!image.complete) image.removeAttribute("src");
    this.list.replaceChildren(...tiles);
  }

  tile(cell, place) {
    const open = cell.decision === "uncertain";
    const ranked = byId("sort").value.startsWith("p:") ? this.rankedClass() : null;
    const classPlace = this.card.classes.indexOf(cell.predicted_class);
    const image = el("img", { src: this.picture(cell.index, this.channel), alt: "", loading: "lazy", decoding: "async", draggable: "false" });
    image.addEventListener("error", () => image.replaceWith(el("span", { class: "no-picture" }, isHere() ? "no picture" : "server gone")), { once: true });
    const label = `${cell.predicted_class}, ${percent(cell.confidence, 0)}${open ? ", uncertain" : ""}; ${cell.id}`;
    const button = el(
      "button",
      { class: `tile ${colour(classPlace)}${open ? " open" : ""}`, type: "button", tabindex: place === this.current ? "0" : "-1", "aria-label": label, "data-index": cell.index },
      el("span", { class: "picture" }, image),
      el("span", { class: "called" }, mark(classPlace), el("span", { class: "class-name" }, cell.predicted_class)),
      el("span", { class: "sure" }, percent(cell.confidence, 0), open ? el("span", { class: "doubtful" }, doubt(), "uncertain") : null),
      ranked && ranked !== cell.predicted_class ? el("span", { class: "ranked" }, `${ranked} ${percent(cell.probabilities[ranked], 0)}`) : null,
      el("span", { class: "cell-name" }, cell.id),
    );
    button.addEventListener("click", () => {
      this.mark(place);
      this.hooks.open(place);
    });
    return el("li", {}, button);
  }

  rankedClass() {
    return byId("sort").value.replace(/^p:/, "").replace(/:[a-z]+$/, "");
  }

  /** Make a tile the one that Tab reaches. */
  mark(place) {
    const tiles = this.tiles();
    tiles[this.current]?.setAttribute("tabindex", "-1");
    this.current = place;
    tiles[place]?.setAttribute("tabindex", "0");
  }

  focus(place) {
    this.mark(place);
    this.tiles()[place]?.focus();
  }

  tiles() {
    return this.list.querySelectorAll(".tile");
  }

  /** Turn to the page at `offset`, the first or last of its cells marked. */
  async turn(offset, { focus = false, end = false } = {}) {
    const last = Math.max(0, Math.ceil(this.total / PAGE) - 1) * PAGE;
    const wanted = Math.min(Math.max(0, offset), last);
    if (wanted === (this.heading?.offset ?? this.offset)) return false;
    const turned = await this.load({ focus, offset: wanted, current: end ? PAGE - 1 : 0 });
    if (turned && !focus) byId("gallery-title").scrollIntoView({ block: "start" });
    return turned;
  }

  /** Tiles in one row of the grid. */
  columns() {
    const tiles = [...this.tiles()];
    const top = tiles[0]?.offsetTop;
    const next = tiles.findIndex((tile) => tile.offsetTop !== top);
    return next < 0 ? Math.max(1, tiles.length) : next;
  }

  async key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const [here, end] = [this.current, this.cells.length - 1];
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns(), ArrowDown: this.columns() };
    if (event.key in steps) {
      event.preventDefault();
      const to = here + steps[event.key];
      if (to >= 0 && to <= end) this.focus(to);
      else if (to < 0) await this.turn(this.offset - PAGE, { focus: true, end: true });
      else if (!(await this.turn(this.offset + PAGE, { focus: true }))) this.focus(end);
    } else if (event.key === "Home" || event.key === "End") {
      event.preventDefault();
      this.focus(event.key === "Home" ? 0 : end);
    } else if (event.key === "PageDown" || event.key === "PageUp") {
      event.preventDefault();
      await this.turn(this.offset + (event.key === "PageDown" ? PAGE : -PAGE), { focus: true });
    }
  }

  wire() {
    const controls = byId("controls");
    const again = () => this.load({ offset: 0, current: 0 });
    controls.addEventListener("submit", (event) => event.preventDefault());
    controls.addEventListener("change", (event) => {
      if (event.target.id === "channel") this.draw();
      else again();
    });
    controls.addEventListener("reset", (event) => {
      // Filters alone: how cells are sorted and shown stays.
      event.preventDefault();
      byId("class").value = "";
      byId("uncertain").checked = false;
      byId("min").value = 0;
      byId("max").value = 100;
      byId("class").focus();
      again();
    });
    this.list.addEventListener("keydown", (event) => this.key(event));
    const turns = {
      first: () => 0,
      previous: () => this.offset - PAGE,
      next: () => this.offset + PAGE,
      last: () => Infinity,
    };
    for (const [name, offset] of Object.entries(turns)) {
      byId(name).addEventListener("click", () => this.turn(offset()));
    }
  }
}

const option = (value, text) => el("option", { value }, text);

function bounded(input, fallback) {
  const value = input.valueAsNumber;
  return Number.isFinite(value) ? Math.min(100, Math.max(0, value)) : fallback;
}
