// Small helpers: elements whose text is always text, and numbers as they are read.

const SVG = "http://www.w3.org/2000/svg";

/** The element of that id. */
export const byId = (id) => document.getElementById(id);

/** An element with attributes; strings among the children become text, never markup. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const whole = new Intl.NumberFormat("en-GB");

/** 12,345 */
export const count = (number) => whole.format(number);

/** "1 cell", "2 cells" */
export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** 0.1234 as "12.3 %"; what rounds to 0 or 100 without being so is not shown as it. */
export function percent(share, digits = 1) {
  const least = 10 ** -digits;
  const value = 100 * share;
  if (share > 0 && value < least) return `< ${least.toFixed(digits)} %`;
  if (share < 1 && value > 100 - least) return `> ${(100 - least).toFixed(digits)} %`;
  return `${value.toFixed(digits)} %`;
}

/** 0.1234 as "12.3": for intervals. */
export const points = (share) => (100 * share).toFixed(1);

/** 1536 as "1.5 kB". */
export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let place = 0;
  let value = number;
  while (value >= 1000 && place < units.length - 1) {
    value /= 1000;
    place += 1;
  }
  return `${place && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[place]}`;
}

/** The same text as a sentence: a capital first, a stop at the end. */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

/** Show an element with that text, or hide it where there is none. */
export function say(element, text) {
  element.textContent = text ?? "";
  element.hidden = !text;
}
