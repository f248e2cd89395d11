// The card's facts at the head of the page.

import { bytes, byId, count, el, many, sentence } from "./dom.js";
import { mark } from "./marks.js";

const FITS = {
  pad: "centred, and padded or cut",
  resize: "stretched to this size",
  shrink: "centred and padded; larger ones shrunk, their aspect kept",
};

/** Fill the head of the page from `GET /api/card`. */
export function showCard(card) {
  document.title = `${card.title || card.name} · cellsearch`;
  byId("card").removeAttribute("aria-busy");
  byId("card-title").textContent = card.title || card.name;
  byId("card-headline").textContent = card.headline ? sentence(card.headline) : "";
  const loud = byId("card-synthetic");
  loud.hidden = !card.synthetic;
  loud.textContent = card.synthetic
    ? "This card was trained on generated cells. It is good for trying things out; its answers about real cells mean nothing."
    : "";
  const rare = new Set(card.rare ?? []);
  byId("card-classes").replaceChildren(
    ...card.classes.map((name, place) =>
      el("li", { class: "chip" }, mark(place), name, rare.has(name) ? el("span", { class: "tag" }, "rare") : null),
    ),
  );
  byId("card-list").replaceChildren(...facts(card, [...rare]).flatMap(([term, text]) => [el("dt", {}, term), el("dd", {}, text)]));
  byId("card-more").hidden = false;
  byId("version").textContent = `cellsearch ${card.version ?? ""} · card ${card.name}`;
  byId("drop-hint").textContent = hint(card);
}

function facts(card, rare) {
  const found = [
    ["Channels, in this order", card.channels.join(", ")],
    ["Size of a crop", `${card.height} × ${card.width} px (height × width)`],
    ["Crops of another size", FITS[card.fit] ?? "refused"],
    ["Pixels", `${card.dtype}, raw intensities`],
  ];
  if (rare.length) {
    found.push(["Rare classes", `${rare.join(", ")}: few cells to learn from, so read their figures with care`]);
  }
  found.push(["Abstains", abstains(card.abstention)]);
  if (card.sets) found.push(["Prediction sets", `hold the true class in ${Math.round(100 * card.sets.coverage)} % of cells`]);
  found.push(["Saliency", card.explains ? "on demand, for one cell and class" : "not for this kind of model"]);
  found.push(["Licence of the data", card.licence || "not stated"]);
  const limits = card.limits;
  found.push(["This server takes", `${many(limits.sample_cells, "cell")} or ${bytes(limits.sample_bytes)} a sample, ${bytes(limits.file_bytes)} a file`]);
  return found;
}

function abstains(abstention) {
  if (!abstention) return "no: every cell is given a class";
  const [rule, level] = abstention.rule.split("=");
  const aims = { coverage: "%: so many cells are to be given a class", precision: "%: so often a class that is given is to be right" };
  const aim = rule in aims && level ? ` (${Math.round(1000 * level) / 10} ${aims[rule]})` : "";
  return `yes: a cell below the threshold of its class is called uncertain${aim}`;
}

function hint(card) {
  const channels = card.channels.length === 1 ? `1 channel (${card.channels[0]})` : `${count(card.channels.length)} channels (${card.channels.join(", ")})`;
  return `One cell a picture, ${card.height} × ${card.width} px, ${channels}. PNG, JPEG, TIFF of one page or many, .npy, .npz; alone, in a folder or in a zip.`;
}
