// What the sample is made of: totals, and each class's share with its interval.

import { byId, count, el, many, percent, points, svg } from "./dom.js";
import { address } from "./api.js";
import { colour, doubt, mark } from "./marks.js";

/** Fill the panel from `GET /api/samples/{id}`. */
export function showSummary(card, id, sample) {
  const cells = sample.cells;
  const totals = [["Cells", count(cells)]];
  if (card.abstention) totals.push(["Uncertain", `${count(sample.uncertain)} (${percent(cells ? sample.uncertain / cells : 0)})`, true]);
  if (sample.mean_confidence !== null && sample.mean_confidence !== undefined) {
    totals.push(["Mean confidence", percent(sample.mean_confidence)]);
  }
  byId("totals").replaceChildren(
    ...totals.map(([term, text, open]) => el("div", {}, el("dt", {}, open ? doubt() : null, term), el("dd", {}, text))),
  );

  const given = sample.fractions ?? [];
  const found = new Map();
  for (const row of given) if (!found.has(row.class)) found.set(row.class, row);
  const bounded = [...found.values()].some((row) => number(row.low));
  const method = [...found.values()].find((row) => number(row.low))?.method;
  byId("shares-caption").textContent = `Share of each class, n = ${many(cells, "cell")}`;
  byId("shares-column").textContent = bounded ? "Share (95 % interval)" : "Share";
  byId("shares").tBodies[0].replaceChildren(
    ...card.classes.map((name, place) => line(name, place, sample.counts[name] ?? 0, cells, found.get(name), card)),
  );
  const notes = byId("shares-notes");
  notes.replaceChildren(el("p", {}, explained(method, bounded)), ...(sample.notes ?? []).map((note) => el("p", {}, note)));

  for (const what of ["cells", "fractions"]) {
    byId(`${what}-csv`).href = address(`samples/${id}/${what}.csv`);
  }
  byId("fractions-csv").hidden = !sample.fractions;
}

const number = (value) => typeof value === "number" && Number.isFinite(value);

function explained(method, bounded) {
  if (!bounded) return "Plain shares of the predicted classes: this card cannot correct them for its own mistakes, so there is no interval.";
  return `Corrected for the card's own mistakes${method ? ` (${String(method).replaceAll("_", " ")})` : ""}, if cells of a class look as they did in training and only the shares differ. Bar: share; line: 95 % interval; tick: plain share of the predicted class.`;
}

function line(name, place, called, cells, row, card) {
  const raw = number(row?.raw) ? row.raw : cells ? called / cells : 0;
  const share = number(row?.share) ? row.share : raw;
  const bounded = number(row?.low) && number(row?.high);
  const text = bounded ? `${percent(share)} (${points(row.low)} to ${points(row.high)})` : `${percent(share)}, as counted`;
  const rare = (card.rare ?? []).includes(name);
  return el(
    "tr",
    { "data-class": name },
    el("th", { scope: "row" }, el("span", { class: "named" }, mark(place), el("span", {}, name), rare ? el("span", { class: "tag" }, "rare") : null)),
    el("td", { class: "number" }, count(called)),
    el("td", { class: "share" }, el("span", {}, text), chart(place, share, raw, bounded ? row : null)),
  );
}

/** A bar from 0 to 100 % with the interval as a line; the numbers stand beside it. */
function chart(place, share, raw, interval) {
  const at = (value) => `${(100 * Math.min(1, Math.max(0, value))).toFixed(2)}%`;
  const parts = [
    svg("rect", { class: "track", x: 0, y: 3, width: "100%", height: 10, rx: 2 }),
    svg("rect", { class: `bar ${colour(place)}`, x: 0, y: 3, width: at(share), height: 10, rx: 2 }),
  ];
  if (interval) {
    parts.push(
      svg("line", { class: "tick", x1: at(raw), x2: at(raw), y1: 0, y2: 4 }),
      svg("line", { class: "whisker", x1: at(interval.low), x2: at(interval.high), y1: 8, y2: 8 }),
      svg("line", { class: "whisker", x1: at(interval.low), x2: at(interval.low), y1: 5, y2: 11 }),
      svg("line", { class: "whisker", x1: at(interval.high), x2: at(interval.high), y1: 5, y2: 11 }),
    );
  }
  return svg("svg", { class: "chart", width: "100%", height: 16, "aria-hidden": "true" }, ...parts);
}

/** Whether there is anything to show. */
export function showSample(shown) {
  byId("sample").hidden = !shown;
  document.body.classList.toggle("has-sample", shown);
  // Emptied, not hidden: who listens is told when it speaks again.
  if (!shown) byId("gallery-count").textContent = "";
}
