// Files that were refused, grouped by the reason; they stay until they are put away.

import { byId, count, el, many, sentence } from "./dom.js";

const MOST_NAMES = 200;
const reasons = new Map();

/** Add files: [{file, reason}]. */
export function addRefused(list) {
  for (const { file, reason } of list) {
    if (!reasons.has(reason)) reasons.set(reason, []);
    reasons.get(reason).push(file);
  }
  show();
}

/** Forget all. */
export function clearRefused() {
  reasons.clear();
  show();
}

function show() {
  const files = [...reasons.values()].reduce((sum, names) => sum + names.length, 0);
  byId("refused").hidden = !files;
  byId("refused-title").textContent = files === 1 ? "1 file was refused" : `${count(files)} files were refused`;
  const list = byId("refused-list");
  const open = new Set([...list.querySelectorAll("details[open]")].map((each) => each.dataset.reason));
  list.replaceChildren(...[...reasons].map(([reason, names]) => group(reason, names, open.has(reason))));
}

function group(reason, names, open) {
  const shown = el("ul", { class: "names" }, ...names.slice(0, MOST_NAMES).map((name) => el("li", {}, name)));
  if (names.length > MOST_NAMES) shown.append(el("li", {}, `and ${count(names.length - MOST_NAMES)} more`));
  const text = el("p", { class: "reason" }, sentence(reason));
  if (names.length <= 3) return el("div", { class: "reason-group" }, text, shown);
  return el("div", { class: "reason-group" }, text, el("details", { open, "data-reason": reason }, el("summary", {}, many(names.length, "file")), shown));
}
