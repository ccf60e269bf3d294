// @ts-check
/** The panels of the curves and of the costs. Pure functions.
 *
 * @typedef {import("./charts.js").Panel} Panel
 * @typedef {import("./colors.js").Palette} Palette
 * @typedef {import("./curves.js").Axis} Axis
 * @typedef {import("./curves.js").Curves} Curves
 * @typedef {import("./curves.js").Values} Values
 * @typedef {{names: string[], log: boolean, smooth: number}} Look
 */
import { isKnown, rawValues, sideBySide, smoothValues, timeCeiling } from "./curves.js";
import { formatBytes } from "./format.js";

const MANY_DOTS = 60;

/** Shares of the height: the first panel is the largest. @param {number} n */
export function heightShares(n) {
  if (n < 2) return new Array(n).fill(1);
  const other = { 2: 0.36, 3: 0.27 }[n] ?? 0.8 / n;
  return [1 - other * (n - 1), ...new Array(n - 1).fill(other)];
}

/** A panel for each metric. @param {Curves} curves @param {Axis} axis @param {Palette} palette @param {Look} look
 * @returns {Panel[]} */
export function metricPanels(curves, axis, palette, look) {
  const shares = heightShares(look.names.length);
  const x = Array.from(curves.steps.x, (step) => axis.at(step));
  const validationX = Array.from(curves.validation.x, (step) => axis.at(step));
  return look.names.map((name, i) => {
    const accuracy = name === "accuracy";
    const log = look.log && !accuracy;
    const bad = name === "loss" ? curves.bad : [];
    const smooth = look.smooth > 0;
    /** @type {Values[]} */ const own = [];
    const lines = [];
    const known = curves.steps.y[name]?.filter((value) => Number.isFinite(value)).length ?? 0;
    if (known) {
      own.push(rawValues(curves.steps, name, bad));
      lines.push({
        label: smooth ? "each step" : "training",
        color: smooth ? palette.pale : palette.training,
        width: smooth ? 1 : 1.5,
        dots: known === 1,
      });
      if (smooth) {
        own.push(smoothValues(curves.steps, name, look.smooth, bad));
        lines.push({ label: "training", color: palette.training, width: 1.8, dots: known === 1 });
      }
    }
    const tables = [{ x, columns: own }];
    if (isKnown(curves.validation.y[name])) {
      tables.push({ x: validationX, columns: [rawValues(curves.validation, name)] });
      lines.push({ label: "validation", color: palette.validation, width: 1.5, dots: validationX.length <= MANY_DOTS });
    }
    const joined = sideBySide(tables);
    const columns = log ? joined.columns.map(positive) : joined.columns;
    return {
      key: name,
      title: log ? `${name} (log)` : name,
      share: shares[i],
      x: joined.x,
      columns,
      lines,
      height: {
        log: log && columns.some((values) => values.some((value) => typeof value === "number")),
        share: accuracy,
      },
      tick: plainTick,
      bad:
        name === "loss" ? curves.bad.map(([a, b]) => /** @type {[number, number]} */ ([axis.at(a), axis.at(b)])) : [],
    };
  });
}

/** Time of the steps and, where it was measured, memory. @param {Curves} curves @param {Axis} axis
 * @param {Palette} palette @returns {Panel[]} */
export function costPanels(curves, axis, palette) {
  const { steps } = curves;
  const x = Array.from(steps.x, (step) => axis.at(step));
  /** @type {[string, string][]} */ const bytes = [
    ["saved_bytes", "kept"],
    ["memory", "memory"],
  ];
  const measured = bytes.filter(([name]) => isKnown(steps.y[name]));
  const timed = isKnown(steps.y.seconds);
  const shares = heightShares(measured.length + (timed ? 1 : 0));
  /** @type {Panel[]} */ const panels = [];
  if (timed) {
    // Of long runs the mean: nearly every bucket has one step that took long.
    const seconds = steps.width > 1 ? smoothValues(steps, "seconds", 0) : rawValues(steps, "seconds");
    panels.push({
      key: "seconds",
      title: "ms per step",
      share: shares[0],
      x,
      columns: [seconds.map((value) => (typeof value === "number" ? value * 1000 : value))],
      lines: [{ label: "ms per step", color: palette.pale, width: 1 }],
      height: { floor: 0 },
      top:
        1000 *
        timeCeiling(
          steps.width > 1 ? steps.mean.seconds : steps.y.seconds,
          curves.levels.map((level) => level.seconds),
        ),
      tick: plainTick,
      levels: curves.levels.map(({ start, end, seconds }) => ({
        x0: axis.at(start),
        x1: axis.at(end),
        value: seconds * 1000,
        text: `${Number((seconds * 1000).toPrecision(3))} ms`,
      })),
    });
  }
  for (const [name, title] of measured) {
    const values = rawValues(steps, name);
    const known = values.filter((value) => typeof value === "number").length;
    panels.push({
      key: name,
      title,
      share: shares[panels.length],
      x,
      columns: [values],
      lines: [{ label: title, color: palette.training, width: 1.5, dots: known <= MANY_DOTS }],
      height: { floor: 0 },
      tick: formatBytes,
    });
  }
  return panels;
}

/** @param {number} value */
function plainTick(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-4)) return value.toExponential().replace("e+", "e");
  return String(Number(value.toPrecision(6)));
}

/** What has a logarithm. @param {Values} values @returns {Values} */
function positive(values) {
  return values.map((value) => (typeof value === "number" && value <= 0 ? null : value));
}
