// The server's REST API, and the one place that learns when the server has gone.

import { sentence } from "./dom.js";

/** The server answered, and refused; `status` is the HTTP status. */
export class Refusal extends Error {
  constructor(status, message, remedy) {
    super([message, remedy].filter(Boolean).map(sentence).join(" "));
    this.status = status;
  }
}

/** Nobody answered. */
export class Gone extends Error {
  constructor() {
    super("The server does not answer.");
  }
}

const BASE = new URL("api/", document.baseURI);
const connection = new EventTarget();
let here = true;

/** Full address of a path below /api. */
export const address = (path) => new URL(path, BASE).href;

/** Call `changed(here)` whenever the server goes or comes back. */
export function onServer(changed) {
  connection.addEventListener("change", () => changed(here));
}

/** Whether the server answered when it was last asked. */
export const isHere = () => here;

function found(now) {
  if (now === here) return;
  here = now;
  connection.dispatchEvent(new Event("change"));
}

const open = new Set();

/** Settles when every request that is under way has its answer. */
export const answered = () => Promise.allSettled([...open]);

/** Response of one request.
 *
 * @throws {Refusal} an answer that is none of 2xx
 * @throws {Gone} no answer
 */
export function request(path, options) {
  const going = fetched(path, options);
  const over = () => open.delete(going);
  open.add(going);
  going.then(over, over);
  return going;
}

async function fetched(path, options = {}) {
  let response;
  try {
    response = await fetch(address(path), { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    found(false);
    throw new Gone();
  }
  found(true);
  if (!response.ok) throw refusal(response.status, await response.text());
  return response;
}

/** JSON of one request; errors as of `request`. */
export async function ask(path, options) {
  const response = await request(path, options);
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw stranger();
  }
}

/** What answered is no cellsearch, or was cut off in the middle. */
const stranger = () => new Refusal(-1, "The answer cannot be read; something between this page and the server may have sent it.", "Reload the page.");

function refusal(status, text) {
  let facts = {};
  try {
    facts = JSON.parse(text) ?? {};
  } catch {
    // A proxy in between may answer in HTML.
  }
  const message = typeof facts.error === "string" ? facts.error : `The server answered ${status}.`;
  return new Refusal(status, message, typeof facts.remedy === "string" ? facts.remedy : "");
}

/** Send files to a sample; `fetch` cannot tell how much has left, so this is an XMLHttpRequest.
 *
 * @param {string} sample - its id
 * @param {{file: File, name: string}[]} parts
 * @param {(share: number) => void} onSent - called with the share that has left
 * @param {AbortSignal} signal
 * @returns {Promise<{added: number, cells: number, brought: number, refused: {file: string, reason: string}[]}>}
 */
export function send(sample, parts, onSent, signal) {
  const form = new FormData();
  for (const { file, name } of parts) form.append("files", file, name);
  return new Promise((resolve, reject) => {
    const http = new XMLHttpRequest();
    const abort = () => http.abort();
    signal.addEventListener("abort", abort);
    http.open("POST", address(`samples/${sample}/files`));
    // Boundaries and names are sent, too, and are more than a small file.
    http.upload.onprogress = (event) => onSent(event.total ? event.loaded / event.total : 0);
    http.onload = () => {
      found(true);
      if (http.status < 200 || http.status >= 300) {
        reject(refusal(http.status, http.responseText));
        return;
      }
      try {
        resolve(JSON.parse(http.responseText));
      } catch {
        reject(stranger());
      }
    };
    http.onerror = () => {
      // A server that refuses a body too large hangs up on it: ask whether it is there at all.
      ask("health").then(
        () => reject(new Refusal(0, "The connection broke while these files were sent.", "Send fewer or smaller files.")),
        reject,
      );
    };
    http.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    http.onloadend = () => signal.removeEventListener("abort", abort);
    if (signal.aborted) reject(new DOMException("cancelled", "AbortError"));
    else http.send(form);
  });
}
