// @ts-check
/** The plots as tables, for those who would rather read numbers.
 *
 * @typedef {import("./curves.js").Curves} Curves
 * @typedef {import("./curves.js").Table} Table
 * @typedef {import("./heatmap.js").Heat} Heat
 * @typedef {import("./marks.js").Lane} Lane
 * @typedef {import("./marks.js").Marks} Marks
 */
import { lowerBound } from "./curves.js";
import { make } from "./dom.js";
import { formatBytes, formatMeasure } from "./format.js";
import { normText } from "./heatmap.js";

const MOST_LINES = 50;

/** So many indices below n, evenly, the last one among them. @param {number} n @param {number} [most] */
export function evenly(n, most = MOST_LINES) {
  if (n <= most) return Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: most }, (_, i) => Math.round((i * (n - 1)) / (most - 1)));
}

/** Rows of the table of curves: text by text. @param {Curves} curves @param {string[]} names @param {Marks} marks */
export function curvesRows(curves, names, marks) {
  const { steps, validation } = curves;
  const lines = evenly(steps.x.length);
  let before = -1;
  return lines.map((i) => {
    const step = steps.x[i];
    const cells = [step.toLocaleString("en-US")];
    for (const name of names) cells.push(numberText(steps.y[name]?.[i]));
    const v = lowerBound(validation.x, step + 1) - 1;
    const fresh = v >= 0 && validation.x[v] > before;
    for (const name of names) cells.push(fresh ? numberText(validation.y[name]?.[v]) : "");
    cells.push(
      marks.marks
        .filter((mark) => mark.step > before && mark.step <= step)
        .map((mark) => mark.label)
        .join("; "),
    );
    before = step;
    return cells;
  });
}

/** @param {Curves} curves @param {string[]} names @param {Marks} marks */
export function curvesTable(curves, names, marks) {
  const head = ["step", ...names, ...names.map((name) => `validation ${name}`), "changes"];
  return tableOf("Values along the run", head, curvesRows(curves, names, marks));
}

/** @param {Curves} curves @param {Lane[]} frozen */
export function costTable(curves, frozen) {
  const rows = curves.levels.map(({ start, end, seconds }) => {
    const between = (/** @type {string} */ name) => bytesBetween(curves.steps, name, start, end);
    const names = frozen.filter((lane) => lane.spans.some(([a, b]) => a < end && b > start)).map((lane) => lane.label);
    return [
      `${(start + 1).toLocaleString("en-US")} to ${end.toLocaleString("en-US")}`,
      `${formatMeasure(1000 * seconds)} ms`,
      between("saved_bytes"),
      between("memory"),
      names.join(", ") || "nothing",
    ];
  });
  return tableOf(
    "Typical step between two changes",
    ["steps", "time of a step", "kept for backward", "memory", "frozen"],
    rows,
  );
}

/** The last known number of bytes of a stretch. @param {Table} steps @param {string} name @param {number} start
 * @param {number} end */
function bytesBetween(steps, name, start, end) {
  const values = steps.y[name] ?? [];
  for (let i = lowerBound(steps.x, end + 1) - 1; i >= 0 && steps.x[i] > start; i--)
    if (Number.isFinite(values[i])) return formatBytes(values[i]);
  return "";
}

/** @param {Heat} heat */
export function heatTable(heat) {
  const n = heat.steps.length;
  const columns = evenly(n, 8);
  const head = ["layer", ...columns.map((c) => `step ${heat.steps[c].toLocaleString("en-US")}`)];
  const rows = heat.labels.map((label, row) => [label, ...columns.map((c) => normText(heat.norms[row * n + c]))]);
  return tableOf("Gradient norms", head, rows);
}

/** @param {number | undefined} value */
function numberText(value) {
  return value === undefined || !Number.isFinite(value) ? "" : String(Number(value.toPrecision(5)));
}

/** @param {string} title @param {string[]} head @param {string[][]} rows */
function tableOf(title, head, rows) {
  const table = make("table", "fz-table");
  table.append(make("caption", "", title));
  const top = make("tr");
  for (const text of head) top.append(make("th", "", text, { scope: "col" }));
  const thead = make("thead");
  thead.append(top);
  const body = make("tbody");
  for (const cells of rows) {
    const line = make("tr");
    cells.forEach((text, i) => line.append(i ? make("td", "", text) : make("th", "", text, { scope: "row" })));
    body.append(line);
  }
  table.append(thead, body);
  return table;
}
