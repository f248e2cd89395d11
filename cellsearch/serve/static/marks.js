// Each class has a colour and a shape: nobody has to tell them apart by colour alone.

import { svg } from "./dom.js";

// With eight colours and five shapes that go round together, forty classes differ.
const SHAPES = [
  () => svg("circle", { cx: 8, cy: 8, r: 6 }),
  () => svg("rect", { x: 2.5, y: 2.5, width: 11, height: 11 }),
  () => svg("path", { d: "M8 1.5 14.5 13.500H1.500Z" }),
  () => svg("path", { d: "M8 1 15 8 8 15 1 8Z" }),
  () => svg("path", { d: "M1.5 2.500H14.500L8 14.500Z" }),
];
const COLOURS = 8;

/** The CSS class that carries the colour of the class at this place. */
export const colour = (place) => `k${place % COLOURS}`;

/** The small picture that stands for the class at this place. */
export function mark(place) {
  const shape = SHAPES[place % SHAPES.length]();
  return svg("svg", { class: `mark ${colour(place)}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, shape);
}

/** The small picture that stands for "uncertain". */
export function doubt() {
  return svg(
    "svg",
    { class: "mark doubt", viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { d: "M8 .8 15.2 8 8 15.2.8 8Z" }),
    svg("path", { class: "sign", d: "M5.9 6.400C6 4 10 4 10 6.3 10 7.7 8 7.8 8 9.300M8 11.200v.6" }),
  );
}
