// From what was dropped or chosen to batches that the server takes.

// Files that systems leave in folders by themselves.
const LITTER = /(^|\/)(\..*|__MACOSX\/.*|Thumbs\.db|desktop\.ini)$/i;

// Of one file in a multipart body: its boundary, headers and name.
const OVERHEAD = 2000;

/** Files of inputs and drops, each with the name that it is sent under.
 *
 * @param {FileList} list
 * @returns {{file: File, name: string}[]}
 */
export function chosen(list) {
  return tidy([...list].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
}

/** Files of a drop; folders are walked. Entries must be taken before the event ends.
 *
 * @param {DataTransfer} transfer
 * @returns {Promise<{file: File, name: string}[]>}
 */
export async function dropped(transfer) {
  const entries = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.());
  if (!entries.length || entries.some((entry) => !entry)) return chosen(transfer.files);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return tidy(found);
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, name: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  // A reader gives at most a hundred entries at a time, and none at the end.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const inner of some) await walk(inner, found);
  }
}

function tidy(parts) {
  const order = new Intl.Collator("en", { numeric: true });
  return parts.filter(({ name }) => !LITTER.test(name)).sort((a, b) => order.compare(a.name, b.name));
}

/** Parts that may be sent, and those too large for the server, with the reason. */
export function sifted(parts, limits, sizeText) {
  const most = Math.min(limits.file_bytes, limits.request_bytes - OVERHEAD);
  const fit = [];
  const refused = [];
  for (const part of parts) {
    if (part.file.size > most) {
      refused.push({ file: part.name, reason: `Larger than the ${sizeText(most)} that this server takes in one file; it was not sent.` });
    } else if (!part.file.size) {
      refused.push({ file: part.name, reason: "The file is empty." });
    } else {
      fit.push(part);
    }
  }
  return { fit, refused };
}

/** Those that can no longer be read, as after they were removed. */
export async function unreadable(parts) {
  const lost = [];
  for (const part of parts) {
    try {
      await part.file.slice(0, 1).arrayBuffer();
    } catch {
      lost.push(part);
    }
  }
  return lost;
}

// A batch is answered as a whole: small ones show their cells sooner.
const FILES = 100;
const BYTES = 32e6;

/** The first parts that make one request: at least one, within the server's limits. */
export function batch(parts, limits) {
  const room = Math.min(BYTES, limits.request_bytes);
  const most = Math.min(FILES, limits.request_files);
  let size = 0;
  let length = 0;
  while (length < parts.length && length < most) {
    size += parts[length].file.size + OVERHEAD;
    if (length && size > room) break;
    length += 1;
  }
  return parts.slice(0, length);
}
