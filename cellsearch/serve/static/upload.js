// The queue of files: sent in batches, one after the other, and given up when asked.

import { Gone, Refusal, send } from "./api.js";
import { batch, sifted } from "./files.js";
import { bytes, byId, many } from "./dom.js";

/** Sends files to a sample.
 *
 * @param {object} hooks - `sample()` gives the id (made at need); `onRefused(list)`; `onBatch(answer)`
 *     after each batch; `onEnd(outcome)` with {sent, cells, cancelled, problem}
 */
export class Upload {
  constructor(hooks) {
    this.hooks = hooks;
    this.limits = null;
    this.waiting = [];
    this.sent = [];
    this.stop = null;
    byId("cancel").addEventListener("click", () => this.cancel());
  }

  get busy() {
    return this.stop !== null;
  }

  /** Queue files; sending starts at once, or they go after those that wait already. */
  add(parts) {
    const { fit, refused } = sifted(parts, this.limits, bytes);
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
    this.stop?.abort();
  }

  /** Forget all files, also those that could be sent again. */
  clear() {
    this.cancel();
    this.waiting = [];
    this.sent = [];
  }

  async run() {
    this.stop = new AbortController();
    this.total = this.waiting.length;
    this.size = volume(this.waiting);
    this.done = 0;
    this.gone = 0;
    this.told = -1;
    const outcome = { sent: 0, cells: 0, cancelled: false, problem: "" };
    byId("sending").hidden = false;
    this.show(0);
    try {
      const id = await this.hooks.sample();
      while (this.waiting.length) {
        const parts = batch(this.waiting, this.limits);
        const answer = await this.patiently(id, parts);
        this.waiting.splice(0, parts.length);
        this.sent.push(...parts);
        this.done += parts.length;
        this.gone += volume(parts);
        outcome.sent += parts.length;
        outcome.cells += answer.added;
        this.show(0);
        if (answer.refused.length) this.hooks.onRefused(answer.refused);
        await this.hooks.onBatch(answer);
      }
    } catch (error) {
      outcome.cancelled = error.name === "AbortError";
      if (!outcome.cancelled) {
        if (!(error instanceof Refusal || error instanceof Gone)) throw error;
        outcome.problem = `${error.message} ${many(this.waiting.length, "file was", "files were")} not sent.`;
        outcome.status = error.status;
        if (error instanceof Gone) this.sent.push(...this.waiting);
      }
    } finally {
      this.stop = null;
      // After a cancel a batch may be under way on the server: it is not sent a second time.
      if (outcome.cancelled) this.sent.push(...this.waiting.splice(0));
      this.waiting = [];
      byId("sending").hidden = true;
      this.hooks.onEnd(outcome);
    }
  }

  /** Send a batch; a server that has its hands full is asked again. */
  async patiently(id, parts) {
    for (;;) {
      try {
        return await send(id, parts, (sent) => this.show(sent), this.stop.signal);
      } catch (error) {
        if (!(error instanceof Refusal) || error.status !== 503) throw error;
        byId("sending-text").textContent = "The server is busy with other uploads; waiting for it";
        await pause(2000, this.stop.signal);
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
