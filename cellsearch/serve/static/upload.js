// The queue of files: sent in batches, one after the other, and given up when asked.

import { Gone, Refusal, send } from "./api.js";
import { batch, sifted, unreadable } from "./files.js";
import { bytes, byId, many } from "./dom.js";

/** Sends files to a sample.
 *
 * @param {object} hooks - `sample()` gives the id (made at need); `onRefused(list)`; `onBatch(answer)`
 *     after each batch; `onEnd(outcome)` with {sent, cells, brought, refused, cancelled, problem, status}
 */
export class Upload {
  constructor(hooks) {
    this.hooks = hooks;
    this.limits = null;
    this.waiting = [];
    this.sent = [];
    this.unsent = [];
    this.stop = null;
    byId("cancel").addEventListener("click", () => this.cancel());
  }

  get busy() {
    return this.stop !== null;
  }

  /** All files that a new sample would have to be sent: those taken, and those left over. */
  get every() {
    return [...this.sent, ...this.unsent, ...this.waiting];
  }

  /** Queue files; sending starts at once, or they go after those that wait already. */
  add(parts) {
    const { fit, refused } = sifted(parts, this.limits, bytes);
    // Who chooses anew has seen what was left over.
    this.unsent = [];
    if (refused.length) this.hooks.onRefused(refused);
    if (!fit.length) return;
    this.waiting.push(...fit);
    if (this.busy) {
      this.total += fit.length;
      this.size += volume(fit);
    } else {
      this.run();
    }
  }

  /** Stop after what is under way; what the server has stays. */
  cancel() {
    const outcome = this.outcome;
    if (this.halt()) this.finish({ ...outcome, cancelled: true });
  }

  /** Forget all files, also those that could be sent again. */
  clear() {
    this.halt();
    this.waiting = [];
    this.sent = [];
    this.unsent = [];
    byId("sending").hidden = true;
  }

  /** A run that is halted comes to nothing, whenever its answers come; whether there was one. */
  halt() {
    const stop = this.stop;
    this.stop = null;
    stop?.abort();
    return stop !== null;
  }

  async run() {
    const stop = new AbortController();
    const halted = () => this.stop !== stop;
    this.stop = stop;
    this.total = this.waiting.length;
    this.size = volume(this.waiting);
    this.done = 0;
    this.gone = 0;
    this.told = -1;
    const outcome = { sent: 0, cells: 0, brought: 0, refused: 0, cancelled: false, problem: "" };
    this.outcome = outcome;
    byId("sending").hidden = false;
    this.show(0);
    try {
      const id = await this.hooks.sample();
      while (!halted() && this.waiting.length) {
        const parts = batch(this.waiting, this.limits);
        const answer = await this.patiently(id, parts, stop.signal);
        if (halted()) return;
        this.waiting.splice(0, parts.length);
        this.done += parts.length;
        this.gone += volume(parts);
        this.show(0);
        if (!answer) continue;
        this.sent.push(...parts);
        outcome.sent += parts.length;
        outcome.cells += answer.added;
        outcome.brought += answer.brought;
        outcome.refused += answer.refused.length;
        if (answer.refused.length) this.hooks.onRefused(answer.refused);
        await this.hooks.onBatch(answer);
      }
    } catch (error) {
      if (halted()) return;
      outcome.problem = `${error.message} ${many(this.waiting.length, "file was", "files were")} not sent.`;
      if (!(error instanceof Refusal || error instanceof Gone)) throw error;
      outcome.status = error.status;
    } finally {
      if (!halted()) this.finish(outcome);
    }
  }

  finish(outcome) {
    this.stop = null;
    this.unsent.push(...this.waiting.splice(0));
    byId("sending").hidden = true;
    this.hooks.onEnd(outcome);
  }

  /** Send a batch; a server that has its hands full is asked again.
   *
   * @returns its answer; null where files that are gone by now were taken out of the batch
   */
  async patiently(id, parts, signal) {
    for (;;) {
      try {
        return await send(id, parts, (share) => this.show(share * volume(parts)), signal);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (error.status === 503) {
          const text = "The server is busy with other uploads; waiting for it";
          byId("sending-text").textContent = text;
          byId("live").textContent = text;
          await pause(2000, signal);
          continue;
        }
        const lost = error.status === 0 ? await unreadable(parts) : [];
        if (!lost.length) throw error;
        this.hooks.onRefused(lost.map(({ name }) => ({ file: name, reason: "It was changed, moved or removed after it was chosen." })));
        parts = parts.filter((part) => !lost.includes(part));
        if (!parts.length) return null;
      }
    }
  }

  show(under) {
    const share = this.size ? Math.min(1, (this.gone + under) / this.size) : 1;
    const bar = byId("sending-bar");
    bar.value = share;
    const all = this.done < this.total && share === 1;
    const text = all
      ? `All ${many(this.total, "file")} sent; the server is classifying`
      : `${this.done.toLocaleString("en-GB")} of ${many(this.total, "file")} done, ${Math.floor(100 * share)} % of ${bytes(this.size)} sent`;
    byId("sending-text").textContent = text;
    // A screen reader is told every fourth part, not every per cent.
    const quarter = Math.floor(4 * share);
    if (quarter > this.told) {
      this.told = quarter;
      byId("live").textContent = text;
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
  });
}

const volume = (parts) => parts.reduce((sum, { file }) => sum + file.size, 0);
