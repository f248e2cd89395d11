// One cell, large: its channels, the probabilities of all classes, saliency when asked.

import { Gone, isHere, Refusal, request } from "./api.js";
import { PAGE } from "./gallery.js";
import { byId, el, percent, say } from "./dom.js";
import { colour, doubt, mark } from "./marks.js";

/** The dialog; moves through the cells of a gallery. */
export class Detail {
  constructor(gallery) {
    this.gallery = gallery;
    this.dialog = byId("detail");
    this.cell = null;
    this.shown = "";
    this.asked = null;
    this.wire();
  }

  /** Take the card: its channels and classes become choices. */
  setCard(card) {
    this.card = card;
    const names = card.channels.length > 1 ? ["montage", ...card.channels] : card.channels;
    const box = byId("detail-channels");
    box.replaceChildren(
      el("legend", {}, "Channel"),
      ...names.map((name) =>
        el("label", {}, el("input", { type: "radio", name: "detail-channel", value: name }), el("span", {}, name === "montage" ? (this.gallery.colours ? "colour" : "all") : name)),
      ),
    );
    box.hidden = names.length < 2;
    byId("saliency").hidden = !card.explains;
    byId("saliency-class").replaceChildren(...card.classes.map((name) => el("option", { value: name }, name)));
  }

  /** Open the cell at this place of the gallery's page. */
  open(place) {
    const channel = this.gallery.channel;
    for (const radio of this.dialog.querySelectorAll("[name=detail-channel]")) radio.checked = radio.value === channel;
    if (!this.dialog.open) this.dialog.showModal();
    this.show(place);
    this.dialog.scrollTop = 0;
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  show(place) {
    const cell = this.gallery.cells[place];
    if (!cell) return;
    this.cell = cell;
    this.forget();
    const open = cell.decision === "uncertain";
    const classPlace = this.card.classes.indexOf(cell.predicted_class);
    byId("detail-title").textContent = `Cell ${cell.id}`;
    byId("detail-verdict").replaceChildren(
      mark(classPlace),
      el("strong", {}, cell.predicted_class),
      el("span", {}, percent(cell.confidence)),
      ...(open ? [el("span", { class: "doubtful" }, doubt(), "uncertain")] : []),
    );
    this.picture();
    this.probabilities(cell);
    byId("detail-rule").textContent = this.rule(cell, open);
    const facts = [["File", cell.source], ["Object number", String(cell.object_number)]];
    if (cell.set) facts.push(["Prediction set", Array.isArray(cell.set) ? cell.set.join(", ") || "none of the classes" : cell.set]);
    byId("detail-list").replaceChildren(...facts.flatMap(([term, text]) => [el("dt", {}, term), el("dd", {}, text)]));
    byId("saliency-class").value = cell.predicted_class;
    this.bound();
  }

  /** Whether there are cells before and behind; the gallery may have grown meanwhile. */
  bound() {
    if (!this.dialog.open) return;
    const held = this.dialog.contains(document.activeElement);
    const at = this.gallery.offset + this.gallery.current;
    byId("detail-previous").disabled = at <= 0;
    byId("detail-next").disabled = at >= this.gallery.total - 1;
    // Keys are heard where the focus is, and a button that cannot be pressed loses it.
    if (held && document.activeElement.disabled) byId("detail-close").focus();
  }

  picture() {
    const channel = this.dialog.querySelector("[name=detail-channel]:checked")?.value ?? this.gallery.channel;
    const names = channel === "montage" ? this.card.channels.join(", ") : channel;
    const image = byId("detail-image");
    image.src = this.gallery.picture(this.cell.index, channel);
    image.alt = `${this.cell.id}, ${names}`;
    image.classList.toggle("wide-picture", channel === "montage" && !this.gallery.colours);
    byId("detail-caption").textContent = channel === "montage" && !this.gallery.colours ? `From left to right: ${names}` : names;
  }

  probabilities(cell) {
    const order = this.card.classes.map((name, place) => ({ name, place, p: cell.probabilities[name] }));
    order.sort((a, b) => b.p - a.p);
    byId("detail-probabilities").replaceChildren(
      ...order.map(({ name, place, p }) => {
        const bar = el("span", { class: `probability ${colour(place)}` });
        bar.style.setProperty("--share", `${100 * p}%`);
        const needed = this.card.abstention?.thresholds?.[name];
        const track = el("span", { class: "probability-track", "aria-hidden": "true" }, bar);
        if (typeof needed === "number" && name === cell.predicted_class) {
          const tick = el("span", { class: "threshold" });
          tick.style.setProperty("--share", `${100 * needed}%`);
          track.append(tick);
        }
        return el("tr", {}, el("th", { scope: "row" }, el("span", { class: "named" }, mark(place), el("span", {}, name))), el("td", {}, track), el("td", { class: "number" }, percent(p)));
      }),
    );
  }

  rule(cell, open) {
    const thresholds = this.card.abstention?.thresholds;
    if (!thresholds) return "";
    const needed = thresholds[cell.predicted_class];
    if (typeof needed !== "number") return `${cell.predicted_class} cannot reach what this card promises, so cells called so are uncertain.`;
    return `${cell.predicted_class} needs at least ${percent(needed)} to be called${open ? "; this cell has less" : ""}.`;
  }

  /** Drop the saliency of another cell or class. */
  forget() {
    this.asked?.abort();
    this.asked = null;
    if (this.shown) URL.revokeObjectURL(this.shown);
    this.shown = "";
    byId("saliency-figure").hidden = true;
    byId("saliency-image").removeAttribute("src");
    say(byId("saliency-text"), "");
  }

  async explain() {
    const name = byId("saliency-class").value;
    this.forget();
    const mine = new AbortController();
    this.asked = mine;
    say(byId("saliency-text"), "Covering the cell part by part; this may take some seconds.");
    try {
      const path = `samples/${this.gallery.id}/cells/${this.cell.index}/saliency.png?${new URLSearchParams({ class: name })}`;
      const answer = await request(path, { signal: mine.signal });
      const picture = await answer.blob();
      if (this.asked !== mine) return;
      this.shown = URL.createObjectURL(picture);
      const image = byId("saliency-image");
      image.src = this.shown;
      image.alt = `Saliency of ${this.cell.id} for ${name}`;
      byId("saliency-caption").textContent = `Yellow: covering this part lowers the probability of ${name} most. Grey: it makes no difference, or speaks against it.`;
      byId("saliency-figure").hidden = false;
      say(byId("saliency-text"), "");
    } catch (error) {
      if (this.asked !== mine || error.name === "AbortError") return;
      if (!(error instanceof Refusal || error instanceof Gone)) throw error;
      this.asked = null;
      say(byId("saliency-text"), error.message);
      // This cell cannot be explained, or its sample is gone: the gallery finds out which.
      if (error.status === 404) this.gallery.load();
    }
  }

  async move(step) {
    const gallery = this.gallery;
    const to = gallery.current + step;
    if (to < 0 || to >= gallery.cells.length) {
      const turned = await gallery.turn(gallery.offset + step * PAGE, { end: step < 0 });
      if (!turned) return;
    } else {
      gallery.mark(to);
    }
    this.show(gallery.current);
  }

  wire() {
    byId("detail-image").addEventListener("error", () => {
      byId("detail-caption").textContent = isHere() ? "There is no picture of this cell." : "No picture: the server does not answer.";
    });
    byId("detail-close").addEventListener("click", () => this.close());
    byId("detail-previous").addEventListener("click", () => this.move(-1));
    byId("detail-next").addEventListener("click", () => this.move(1));
    byId("detail-channels").addEventListener("change", () => this.picture());
    byId("saliency-show").addEventListener("click", () => this.explain());
    byId("saliency-class").addEventListener("change", () => {
      if (this.asked) this.explain();
    });
    // A click beside the dialog lands on the dialog itself: its content has a box of its own.
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.close();
    });
    this.dialog.addEventListener("close", () => {
      this.forget();
      this.gallery.focus(this.gallery.current);
    });
    this.dialog.addEventListener("keydown", (event) => {
      if (event.target.matches("select, input") || event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
        event.preventDefault();
        this.move(event.key === "ArrowLeft" ? -1 : 1);
      }
    });
  }
}
