// @ts-check
/** Gradients over time as a heat map: a row for each layer, a column for each measured step.
 *
 * @typedef {import("./curves.js").Axis} Axis
 * @typedef {import("./charts.js").Panel} Panel
 * @typedef {{labels: string[], steps: Int32Array, norms: Float32Array, low: number, high: number}} Heat
 *   norms row by row; NaN where there was no gradient
 */
import { cividis, logShare } from "./colors.js";
import { formatMeasure } from "./format.js";
import { float32, int32 } from "./wire.js";

/** The trait `heat`. @param {any} raw @returns {Heat} */
export function readHeat(raw) {
  return {
    labels: raw?.labels ?? [],
    steps: int32(raw?.steps),
    norms: float32(raw?.norms),
    low: raw?.low ?? 1e-3,
    high: raw?.high ?? 1,
  };
}

/** The steps between which each column is drawn: halfway to its neighbours. @param {ArrayLike<number>} steps
 * @param {number} last */
export function columnEdges(steps, last) {
  const n = steps.length;
  if (n === 0) return [];
  if (n === 1) return [0, steps[0]];
  const edges = [Math.max(0, steps[0] - (steps[1] - steps[0]) / 2)];
  for (let i = 1; i < n; i++) edges.push((steps[i - 1] + steps[i]) / 2);
  edges.push(Math.min(last, steps[n - 1] + (steps[n - 1] - steps[n - 2]) / 2));
  return edges;
}

/** The colour of a norm, as [red, green, blue]; null where there was no gradient. @param {Heat} heat
 * @param {number} norm */
export function colorOf(heat, norm) {
  return Number.isFinite(norm) ? cividis(logShare(norm, heat.low, heat.high)) : null;
}

/** The norm at a place, and where that is. @param {Heat} heat @param {number} step @param {number} row */
export function normAt(heat, step, row) {
  const edges = columnEdges(heat.steps, Infinity);
  let column = 0;
  while (column < heat.steps.length - 1 && edges[column + 1] <= step) column++;
  return { column, step: heat.steps[column], norm: heat.norms[row * heat.steps.length + column] };
}

/** What was the case at a place, in words. @param {number} norm */
export function normText(norm) {
  return Number.isFinite(norm) ? formatMeasure(norm) : "no gradient (frozen)";
}

/** The panel that draws it. @param {Heat} heat @param {Axis} axis @param {number} last @param {string} missing
 * @returns {Panel} */
export function heatPanel(heat, axis, last, missing) {
  const columns = heat.steps.length;
  const edges = columnEdges(heat.steps, last).map((step) => axis.at(step));
  return {
    key: "gradients",
    title: "gradients",
    share: 1,
    x: Array.from(heat.steps, (step) => axis.at(step)),
    columns: [new Array(columns).fill(1)],
    lines: [{ label: "gradient norm", color: "transparent", width: 0, hidden: true }],
    tick: () => "",
    cells: {
      labels: heat.labels,
      edges,
      paint(ctx, place) {
        for (let row = 0; row < heat.labels.length; row++) {
          for (let column = 0; column < columns; column++) {
            const color = colorOf(heat, heat.norms[row * columns + column]);
            const [x, y, width, height] = place(column, row);
            if (width <= 0) continue;
            ctx.fillStyle = color ? `rgb(${color.join(",")})` : missing;
            ctx.fillRect(x, y, width, height);
          }
        }
      },
    },
  };
}
