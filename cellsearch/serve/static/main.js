// Puts the page together: card, upload, summary, gallery, one cell.

import { answered, ask, Gone, isHere, onServer, Refusal } from "./api.js";
import { showCard } from "./card.js";
import { Detail } from "./detail.js";
import { byId, count, many, say } from "./dom.js";
import { chosen, dropped } from "./files.js";
import { Gallery } from "./gallery.js";
import { addRefused, clearRefused } from "./refused.js";
import { showSample, showSummary } from "./summary.js";
import { Upload } from "./upload.js";

const KEPT = "cellsearch-sample";
const RETRY_MS = 2000;
const SETTLE_MS = 1500;
const WATCH_MS = 15000;

let card = null;
let sample = null;
let making = null;
let looked = 0;
let restored = false;
let lost = false;

const gallery = new Gallery({ open: (place) => detail.open(place), problem: told, drawn: () => detail.bound() });
const detail = new Detail(gallery);
const upload = new Upload({
  sample: async () => {
    if (!sample) {
      making ??= made().finally(() => {
        making = null;
      });
      await making;
    }
    return sample;
  },
  onRefused: addRefused,
  onBatch: refresh,
  onEnd: ended,
});

/** Remember the sample, so that reloading the page does not lose it. */
function keep(id) {
  sample = id;
  try {
    if (id) sessionStorage.setItem(KEPT, id);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // Without storage a reload starts anew.
  }
}

function kept() {
  try {
    return sessionStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

async function made() {
  if (await isOther()) throw new Refusal(0, "This server serves another card by now.", "Reload the page, and send the files again.");
  keep((await ask("samples", { method: "POST" })).sample);
}

/** Whether the card is no longer the one that this page shows, as after another `cellsearch serve`. */
async function isOther() {
  return JSON.stringify(await ask("card")) !== JSON.stringify(card);
}

async function start() {
  try {
    card = await ask("card");
  } catch (error) {
    told(error);
    byId("card-title").textContent = "The card could not be opened";
    // Without an answer at all the watch on the server begins anew.
    if (error instanceof Refusal) setTimeout(start, RETRY_MS);
    return;
  }
  say(byId("problem"), "");
  showCard(card);
  upload.limits = card.limits;
  gallery.setCard(card);
  detail.setCard(card);
  for (const id of ["choose-files", "choose-folder"]) byId(id).disabled = false;
  const before = kept();
  if (before && !sample) {
    sample = before;
    restored = true;
    await refresh({ quiet: true });
  }
}

/** Ask for the sample's totals and the page of cells, and show both. */
async function refresh({ quiet = false } = {}) {
  if (!sample) return;
  const mine = sample;
  looked += 1;
  const look = looked;
  try {
    const facts = await ask(`samples/${mine}`);
    if (sample !== mine || look !== looked) return;
    if (!facts.cells) {
      showSample(false);
      return;
    }
    showSummary(card, mine, facts);
    showSample(true);
    if (gallery.id !== mine) await gallery.setSample(mine);
    else await gallery.load();
  } catch (error) {
    if (sample !== mine) return;
    if (error instanceof Refusal && error.status === 404 && quiet) {
      keep(null);
      restored = false;
      return;
    }
    told(error);
  }
}

function ended({ sent, cells, brought, refused, cancelled, problem, status }) {
  const left = refused ? `, ${count(refused)} refused` : "";
  const sized = brought ? `, ${count(brought)} of them brought to the card's size` : "";
  const done = `${many(sent, "file")} sent, ${many(cells, "cell")} classified${sized}${left}.`;
  byId("live").textContent = cancelled ? `Cancelled. ${done}` : done;
  if (cancelled) {
    if (document.activeElement === byId("cancel") || document.activeElement === document.body) byId("choose-files").focus();
    if (lost) return;
    say(byId("problem"), `Cancelled: ${done} What the server has already stays.`);
    refresh();
    settle(SETTLE_MS);
  } else if (problem && status === 404) {
    vanished();
  } else if (problem) {
    say(byId("problem"), problem);
  }
}

/** Look again for what the server was still classifying when it was told to stop. */
function settle(wait) {
  const mine = sample;
  setTimeout(() => {
    if (!mine || sample !== mine || upload.busy) return;
    refresh();
    if (wait < 30000) settle(2 * wait);
  }, wait);
}

/** Say what went wrong; a server that is gone has its own banner. */
function told(error) {
  if (error instanceof Gone) return;
  if (!(error instanceof Refusal)) throw error;
  if (error.status === 404 && sample) vanished();
  else say(byId("problem"), error.message);
}

/** The server no longer has the sample: it was restarted, or threw it away. */
function vanished() {
  if (lost) return;
  lost = true;
  detail.close();
  const parts = upload.every;
  const box = byId("problem");
  const before = restored && parts.length ? " Files that were sent before the page was reloaded must be dropped again." : "";
  const again = parts.length ? before : " Drop the files again.";
  say(box, `The server no longer has this sample: it was restarted, or the sample lay idle too long.${again} `);
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = parts.length ? `Send the ${many(parts.length, "file")} again` : "Start anew";
  button.addEventListener("click", () => {
    anew();
    byId("choose-files").focus();
    if (parts.length) take(parts);
  });
  box.append(button);
  isOther().then((other) => other && location.reload(), () => {});
}

function anew() {
  const old = sample;
  upload.clear();
  detail.close();
  keep(null);
  restored = false;
  lost = false;
  gallery.setSample(null);
  showSample(false);
  clearRefused();
  say(byId("problem"), "");
  byId("live").textContent = "Started anew.";
  // What was asked of the sample a moment ago is still to be answered.
  if (old) answered().then(() => ask(`samples/${old}`, { method: "DELETE" })).catch(() => {});
}

function take(parts) {
  if (!card) {
    say(byId("problem"), "The card is not open yet. Choose or drop the files again in a moment.");
    return;
  }
  if (!parts.length) {
    // The offer to send the others again stays where it is.
    if (!lost) say(byId("problem"), "There were no files in what was dropped or chosen.");
    return;
  }
  if (lost) anew();
  if (!upload.busy) say(byId("problem"), "");
  upload.add(parts);
}

function wireFiles() {
  for (const [button, input] of [["choose-files", "files"], ["choose-folder", "folder"]]) {
    byId(button).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", (event) => {
      const parts = chosen(event.target.files);
      event.target.value = "";
      take(parts);
    });
  }
  const zone = byId("drop");
  let inside = 0;
  const lit = (on) => zone.classList.toggle("over", on);
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  // The whole window takes files: one that misses the zone would replace the page by a picture.
  addEventListener("dragenter", (event) => {
    if (carries(event)) lit(++inside > 0);
  });
  addEventListener("dragleave", (event) => {
    if (carries(event)) lit(--inside > 0);
  });
  addEventListener("dragover", (event) => {
    if (carries(event)) event.preventDefault();
  });
  addEventListener("drop", async (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    inside = 0;
    lit(false);
    try {
      take(await dropped(event.dataTransfer));
    } catch (error) {
      say(byId("problem"), `What was dropped cannot be read: ${error.message}`);
    }
  });
}

function wireServer() {
  const banner = byId("gone");
  const look = () => ask("health").catch(() => {});
  let timer = 0;
  onServer((here) => {
    clearInterval(timer);
    document.body.classList.toggle("server-gone", !here);
    if (!here) {
      say(banner, "The server does not answer. Is “cellsearch serve” still running? What you see stays; this page tries again by itself.");
      timer = setInterval(look, RETRY_MS);
      return;
    }
    say(banner, "");
    byId("live").textContent = "The server answers again.";
    if (!card) {
      start();
      return;
    }
    isOther().then((other) => (other ? location.reload() : refresh()), told);
  });
  setInterval(() => {
    if (document.visibilityState === "visible" && isHere() && !upload.busy) look();
  }, WATCH_MS);
}

addEventListener("beforeunload", (event) => {
  // The queue is this page's alone.
  if (upload.busy) event.preventDefault();
});
byId("anew").addEventListener("click", () => {
  anew();
  byId("choose-files").focus();
});
byId("refused-clear").addEventListener("click", () => {
  clearRefused();
  byId("choose-files").focus();
});
wireServer();
wireFiles();
start();
