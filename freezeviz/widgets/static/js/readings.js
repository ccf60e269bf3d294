// @ts-check
/** What the plots show, in words: as a whole, and at the place that one points at.
 *
 * @typedef {import("./charts.js").Line} Line
 * @typedef {import("./charts.js").Panel} Panel
 * @typedef {import("./curves.js").Axis} Axis
 * @typedef {import("./curves.js").Curves} Curves
 * @typedef {import("./heatmap.js").Heat} Heat
 */
import { axisNames, axisOf } from "./curves.js";
import { make } from "./dom.js";
import { formatBytes, formatMeasure, formatShare } from "./format.js";
import { normAt, normText } from "./heatmap.js";

/** @type {Record<string, string>} */ const CALLED = { saved_bytes: "kept", seconds: "step" };

/** @param {Heat} heat */
export function heatInWords(heat) {
  const { labels, steps, low, high } = heat;
  const range = `from ${formatMeasure(low)} to ${formatMeasure(high)}`;
  return `Heat map of the gradient norms of ${labels.length} layers at ${steps.length} steps, ${range}. The table has the numbers.`;
}

/** @param {Curves} curves */
export function costInWords(curves) {
  const levels = curves.levels.map(
    ({ start, end, seconds }) => `steps ${start + 1} to ${end}: ${formatMeasure(1000 * seconds)} ms`,
  );
  return `Typical time of a step. ${levels.join("; ") || "Not known yet"}.`;
}

/** What a heat map has at a place. @param {Heat} heat @param {number} step @param {number} row */
export function gradientReading(heat, step, row) {
  const found = normAt(heat, step, row);
  return [
    make("strong", "", heat.labels[row] ?? ""),
    make("span", "", ` ${whereText("step", found.step)}: `),
    make("span", "fz-value", normText(found.norm)),
  ];
}

/** What curves have at a place. @param {Curves} curves @param {Axis} axis @param {number} x
 * @param {{panel: Panel, line: Line, x: number, value: number}[]} found */
export function curvesReading(curves, axis, x, found) {
  const step = axis.back(found.length ? found.reduce((a, b) => (Math.abs(b.x - x) < Math.abs(a.x - x) ? b : a)).x : x);
  const places = [whereText("step", step)];
  for (const name of axisNames(curves).slice(1)) places.push(whereText(name, axisOf(name, curves).at(step)));
  const nodes = [make("span", "fz-where", `${places.join(" · ")} `)];
  let each = ""; // the value behind a mean
  for (const { line, value, panel } of found) {
    if (line.label === "each step") {
      each = readingText(panel, value);
      continue;
    }
    const item = make("span", "fz-reading");
    const dot = make("span", "fz-swatch", undefined, { "aria-hidden": "true" });
    dot.style.background = line.color;
    const name = line.label === "validation" ? `val. ${panel.key}` : (CALLED[panel.key] ?? panel.key);
    item.append(dot, make("span", "", name), make("span", "fz-value", readingText(panel, value)));
    if (each) item.append(make("span", "", `(this step ${each})`));
    each = "";
    nodes.push(item);
  }
  return nodes;
}

/** @param {string} name @param {number} value */
function whereText(name, value) {
  if (name === "step") return `step ${Math.round(value).toLocaleString("en-US")}`;
  if (name === "epoch") return `epoch ${value.toFixed(2)}`;
  return `${value < 100 ? value.toPrecision(3) : Math.round(value).toLocaleString("en-US")} s`;
}

/** A value as people read it. @param {Panel} panel @param {number} value */
function readingText(panel, value) {
  if (panel.key === "accuracy") return formatShare(value);
  if (panel.key === "memory" || panel.key === "saved_bytes") return formatBytes(Math.round(value));
  if (panel.key === "seconds") return `${formatMeasure(value)} ms`;
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}
