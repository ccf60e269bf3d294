// @ts-check
/** What a run's curves are made of. Pure functions.
 *
 * The kernel sends tables of buckets (`widgets/_buckets.py`): of each column the smallest and the largest value of
 * a bucket in the order in which they came, and the mean; as long as a run is short a bucket is one step.
 *
 * @typedef {{width: number, rows: number, x: Int32Array, y: Record<string, Float32Array>,
 *   mean: Record<string, Float32Array>}} Table
 * @typedef {{start: number, end: number, seconds: number}} Level
 * @typedef {{steps: Table, validation: Table, bad: [number, number][], knots: Knots, levels: Level[],
 *   text: string}} Curves
 * @typedef {{x: number[], y: number[]}} Knots a function of the step, straight between its knots
 * @typedef {{name: string, label: string, at: (step: number) => number, back: (x: number) => number}} Axis
 * @typedef {(number | null | undefined)[]} Values null is a gap; undefined is nothing, a line goes on past it
 */
import { float32, int32 } from "./wire.js";

const NOT_METRICS = new Set(["step", "epoch", "seconds", "saved_bytes", "memory"]);

/** @param {any} raw @returns {Table} */
export function readTable(raw) {
  /** @type {Record<string, Float32Array>} */ const y = {};
  /** @type {Record<string, Float32Array>} */ const mean = {};
  for (const [name, bytes] of Object.entries(raw?.y ?? {})) y[name] = float32(bytes);
  for (const [name, bytes] of Object.entries(raw?.mean ?? {})) mean[name] = float32(bytes);
  return { width: raw?.width ?? 1, rows: raw?.rows ?? 0, x: int32(raw?.x), y, mean };
}

/** The trait `curves`. @param {any} raw @returns {Curves} */
export function readCurves(raw) {
  const { x, y } = raw?.knots ?? {};
  return {
    steps: readTable(raw?.steps),
    validation: readTable(raw?.validation),
    bad: raw?.bad ?? [],
    knots: { x: [...int32(x)], y: [...float32(y)] },
    levels: (raw?.levels ?? []).map((/** @type {number[]} */ [start, end, seconds]) => ({ start, end, seconds })),
    text: raw?.text ?? "",
  };
}

/** Whether a column has a number. @param {Float32Array | undefined} values */
export function isKnown(values) {
  return values !== undefined && values.some((value) => Number.isFinite(value));
}

/** What can be plotted: the loss first, then what else has a value. @param {Curves} curves */
export function metricNames(curves) {
  const names = new Set([...Object.keys(curves.steps.y), ...Object.keys(curves.validation.y)]);
  return [
    "loss",
    ...[...names].filter(
      (name) =>
        name !== "loss" &&
        !NOT_METRICS.has(name) &&
        (isKnown(curves.steps.y[name]) || isKnown(curves.validation.y[name])),
    ),
  ];
}

/** The last step that anything is known of; at least 1. @param {Curves} curves */
export function lastStep(curves) {
  const { steps, validation } = curves;
  // Of a wide bucket the middle is in `x`; the number of rows tells where the last one ends.
  const first = steps.x.length ? steps.x[0] : 1;
  const end = steps.rows ? first + steps.rows - 1 : 0;
  return Math.max(1, end, steps.x.at(-1) ?? 0, validation.x.at(-1) ?? 0);
}

/** The value of a broken line at x; straight on beyond its ends. @param {ArrayLike<number>} xs
 * @param {ArrayLike<number>} ys @param {number} x */
export function interpolate(xs, ys, x) {
  const n = xs.length;
  if (n === 0) return x;
  if (n === 1) return ys[0] + (x - xs[0]);
  let low = 0;
  let high = n - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle;
    else high = middle;
  }
  const width = xs[high] - xs[low];
  return width ? ys[low] + ((ys[high] - ys[low]) * (x - xs[low])) / width : ys[high];
}

/** Seconds of training after each bucket. @param {Table} steps @returns {Knots} */
export function timeKnots(steps) {
  const seconds = steps.width > 1 ? steps.mean.seconds : steps.y.seconds;
  /** @type {Knots} */ const knots = { x: [0], y: [0] };
  if (!isKnown(seconds) || !seconds) return knots;
  const first = steps.x[0];
  let sum = 0;
  for (let i = 0; i < seconds.length; i++) {
    const rows = Math.min(steps.width, steps.rows - i * steps.width);
    if (Number.isFinite(seconds[i])) sum += seconds[i] * rows;
    knots.x.push(first - 1 + i * steps.width + rows);
    knots.y.push(sum);
  }
  return knots;
}

/** Which axes there are. @param {Curves} curves */
export function axisNames(curves) {
  const names = ["step"];
  if ((curves.knots.y.at(-1) ?? 0) > 0 && curves.knots.y.length > 2) names.push("epoch");
  if (isKnown(curves.steps.y.seconds)) names.push("time");
  return names;
}

/** What a plot runs over. @param {string} name @param {Curves} curves @returns {Axis} */
export function axisOf(name, curves) {
  if (name === "step" || !axisNames(curves).includes(name)) {
    return { name: "step", label: "step", at: (step) => step, back: (x) => x };
  }
  const { x, y } = name === "epoch" ? curves.knots : timeKnots(curves.steps);
  return {
    name,
    label: name === "epoch" ? "epoch" : "seconds of training",
    at: (step) => interpolate(x, y, step),
    back: (value) => interpolate(y, x, value),
  };
}

/** Exponential moving mean without the bias of its beginning; gaps count for nothing and stay.
 * @param {ArrayLike<number>} values @param {number} factor what is kept of the mean, from 0 to below 1 */
export function movingMean(values, factor) {
  const out = new Array(values.length);
  let sum = 0;
  let weight = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!Number.isFinite(value)) {
      out[i] = null;
      continue;
    }
    sum = factor * sum + (1 - factor) * value;
    weight = factor * weight + (1 - factor);
    out[i] = sum / weight;
  }
  return out;
}

/** A column as it was. Not every step need have a value: only where the loss was bad is a gap.
 * @param {Table} table @param {string} name @param {[number, number][]} [bad] stretches of steps @returns {Values} */
export function rawValues(table, name, bad = []) {
  return Array.from(table.y[name] ?? [], (value, i) => (Number.isFinite(value) ? value : gapAt(table.x[i], bad)));
}

/** The mean of a column's last values, of about as many steps; NaN where there is none. @param {Table} table
 * @param {string} name @param {number} most */
export function recentMean(table, name, most) {
  const values = (table.width > 1 ? table.mean[name] : table.y[name]) ?? [];
  let sum = 0;
  let steps = 0;
  for (let i = values.length - 1; i >= 0 && steps < most; i--) {
    if (!Number.isFinite(values[i])) continue;
    const rows = Math.min(table.width, table.rows - i * table.width); // the last bucket may not be full
    sum += rows * values[i];
    steps += rows;
  }
  return steps ? sum / steps : NaN;
}

/** A column, smoothed: at every step, or in the middle of every bucket. The factor is one of single steps: over a
 * bucket of w it is raised to w. @param {Table} table @param {string} name @param {number} factor
 * @param {[number, number][]} [bad] @returns {Values} */
export function smoothValues(table, name, factor, bad = []) {
  const wide = table.width > 1;
  const source = (wide ? table.mean[name] : table.y[name]) ?? [];
  const mean = movingMean(source, factor ** table.width).map(
    (value, i) => value ?? gapAt(table.x[wide ? Math.min(2 * i + 1, table.x.length - 1) : i], bad),
  );
  return wide ? mean.flatMap((value) => [undefined, value]) : mean;
}

/** @param {number} step @param {[number, number][]} bad */
function gapAt(step, bad) {
  return bad.some(([first, last]) => step >= first && step <= last) ? null : undefined;
}

/** Several tables side by side, over the union of their x. @param {{x: number[], columns: Values[]}[]} tables */
export function sideBySide(tables) {
  const at = tables.map(() => 0);
  /** @type {number[]} */ const x = [];
  const columns = tables.map(({ columns: own }) => own.map(() => /** @type {Values} */ ([])));
  for (;;) {
    let next = Infinity;
    tables.forEach((table, t) => {
      if (at[t] < table.x.length) next = Math.min(next, table.x[at[t]]);
    });
    if (next === Infinity) return { x, columns: columns.flat() };
    x.push(next);
    tables.forEach((table, t) => {
      const here = at[t] < table.x.length && table.x[at[t]] === next;
      table.columns.forEach((values, c) => columns[t][c].push(here ? values[at[t]] : undefined));
      if (here) at[t]++;
    });
  }
}

/** The index nearest to x that has a value, or -1. @param {number[]} xs @param {Values} values @param {number} x */
export function nearest(xs, values, x) {
  let best = -1;
  let distance = Infinity;
  let at = lowerBound(xs, x);
  for (const direction of [-1, 1]) {
    for (let i = direction < 0 ? at - 1 : at; i >= 0 && i < xs.length; i += direction) {
      const away = Math.abs(xs[i] - x);
      if (away >= distance) break;
      if (typeof values[i] === "number") {
        best = i;
        distance = away;
        break;
      }
    }
  }
  return best;
}

/** The first index whose x is not below. @param {ArrayLike<number>} xs @param {number} x */
export function lowerBound(xs, x) {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The ends of a vertical scale, with a little room. @param {number | null} low @param {number | null} high
 * @param {{log?: boolean, floor?: number, share?: boolean}} [kind] floor: where it begins; share: of 0 to 1
 * @returns {[number, number]} */
export function verticalRange(low, high, kind = {}) {
  if (low === null || high === null || low === undefined || high === undefined || !Number.isFinite(high - low))
    return kind.log ? [0.1, 1] : [0, 1];
  if (kind.log) {
    const wide = high > low * 1.05;
    return wide ? [low / (high / low) ** 0.04, high * (high / low) ** 0.04] : [low / 2, high * 2];
  }
  const room = high > low ? 0.05 * (high - low) : Math.abs(high) * 0.1 || 1;
  if (kind.share && low >= 0 && high <= 1) return [low < 0.5 ? 0 : Math.max(0, low - room), 1.02];
  return [kind.floor ?? low - room, high + room];
}

/** Numbers on a logarithmic axis: 1, 2 and 5 of each decade as long as there is room, else decades; within a small part
 * of a decade, round numbers. @param {number} low @param {number} high @param {number} most */
export function logTicks(low, high, most) {
  if (!(low > 0) || !(high > low)) return [];
  const decades = Math.log10(high / low);
  const from = Math.floor(Math.log10(low));
  const to = Math.ceil(Math.log10(high));
  /** @param {number[]} parts @param {number} every */
  const ticks = (parts, every) => {
    const found = [];
    for (let power = from; power <= to; power += 1)
      if ((power - from) % every === 0) for (const part of parts) found.push(Number(`${part}e${power}`));
    return found.filter((value) => value >= low * 0.999999 && value <= high * 1.000001);
  };
  for (const parts of [[1, 2, 5], [1, 3], [1]]) {
    const found = ticks(parts, 1);
    if (found.length >= 2 && found.length <= Math.max(2, most)) return found;
  }
  if (decades >= 2) return ticks([1], Math.ceil(decades / Math.max(1, most)));
  const rough = (high - low) / Math.max(2, Math.min(4, most));
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((part) => part * unit >= rough) ?? 10);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(Number((i * step).toPrecision(6)));
  return found;
}

/** How far up times have to reach: those that took very long are cut off, however many on a busy machine.
 * @param {Float32Array | undefined} seconds @param {number[]} [typical] of the stretches */
export function timeCeiling(seconds, typical = []) {
  const known = Array.from(seconds ?? [])
    .filter((value) => Number.isFinite(value))
    .sort((a, b) => a - b);
  if (!known.length) return 1;
  const usual = known[Math.min(known.length - 1, Math.floor(0.98 * known.length))];
  const most = typical.length ? 4 * Math.max(...typical) : Infinity;
  return Math.max(Math.min(1.05 * known[known.length - 1], 1.6 * usual, most), 1e-9);
}
