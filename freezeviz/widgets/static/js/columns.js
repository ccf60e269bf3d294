// @ts-check
/** The columns of the tree: which there are, which show in the room there is, and what stands in them. Pure.
 * @typedef {{key: string, title: string, says: string, more?: string, width: number, number?: boolean}} Column
 */
import { formatBytes, formatMeasure, formatShare } from "./format.js";
import { MEASURES, ROLE_EXPECTED, ROLES } from "./wire.js";

/** In the order in which they stand; the name comes first and is always there, so is the state.
 * @type {Column[]} */
export const COLUMNS = [
  { key: "type", title: "Type", says: "Type and sizes", width: 108 },
  { key: "shape", title: "Shape", says: "Shape, in a column of its own", width: 96 },
  { key: "count", title: "Params", says: "Parameters", width: 72, number: true },
  { key: "bytes", title: "Bytes", says: "Bytes of the parameters", width: 78, number: true },
  { key: "state", title: "State", says: "State", width: 116 },
  { key: "backward", title: "Backward", says: "What backward does there", width: 92 },
  { key: "gradient", title: "Grad. norm", says: "Gradient norm", width: 96, number: true },
  { key: "trend", title: "Trend", says: "Gradient norm over time", width: 84 },
  {
    key: "update",
    title: "Update/weight",
    says: "Size of the last update to that of the weights",
    width: 114,
    number: true,
  },
  {
    key: "time",
    title: "Step time",
    says: "Share of the step's time",
    more: "Share of the step's time, forward and backward; the rest of it is loss, optimizer and data",
    width: 84,
    number: true,
  },
  { key: "saved", title: "Saved", says: "Bytes kept for backward", width: 84, number: true },
];

export const ALWAYS = ["state"];
export const DEFAULT_COLUMNS = ["type", "count", "state", "backward"];
export const NAME_WIDTH = 150; // less than this and a name says nothing
const GIVE_WAY = ["backward", "type"]; // in this order, where the cell is narrow

/** The columns that are known, in their order. @param {Iterable<string>} keys */
export function inOrder(keys) {
  const wanted = new Set([...keys, ...ALWAYS]);
  return COLUMNS.filter((column) => wanted.has(column.key)).map((column) => column.key);
}

/** Which of the chosen columns show in a width, and the grid they stand in. What gives way is still read out. Where
 * measured columns have no room either, the tree scrolls, and nothing gives way.
 * @param {string[]} chosen @param {number} width of the tree @returns {{shown: string[], template: string, least: number}} */
export function layoutColumns(chosen, width) {
  let shown = inOrder(chosen);
  const least = (/** @type {string[]} */ keys) =>
    NAME_WIDTH + COLUMNS.reduce((sum, c) => sum + (keys.includes(c.key) ? c.width : 0), 0);
  for (const key of GIVE_WAY)
    if (width > 0 && least(shown) > width) shown = shown.filter((other) => other !== key);
  if (least(shown) > width && shown.some((key) => !DEFAULT_COLUMNS.includes(key))) shown = inOrder(chosen);
  // A tree that scrolls anyway has room for longer names.
  const name = width > 0 && least(shown) > width ? Math.max(NAME_WIDTH, Math.min(220, Math.round(0.3 * width))) : NAME_WIDTH;
  const tracks = COLUMNS.filter((c) => shown.includes(c.key)).map((c) =>
    c.key === "type" ? `minmax(${c.width}px, 0.9fr)` : `${c.width}px`,
  );
  return {
    shown,
    template: [`minmax(${name}px, 1.6fr)`, ...tracks].join(" "),
    least: least(shown) + name - NAME_WIDTH,
  };
}

const PLACE = { gradient: 0, update: 1, time: 2, saved: 3 };

/** One measured number of a row; NaN where unknown. @param {Float32Array} measures @param {string} key @param {number} i */
export function measureOf(measures, key, i) {
  const place = PLACE[/** @type {keyof typeof PLACE} */ (key)];
  const value = place === undefined ? undefined : measures[MEASURES * i + place];
  return value === undefined ? NaN : value;
}

/** As it stands in its cell. @param {string} key @param {number} value */
export function formatMeasured(key, value) {
  if (Number.isNaN(value)) return "";
  if (key === "time") return formatShare(value);
  if (key === "saved") return formatBytes(Math.round(value));
  return formatMeasure(value);
}

/** Share of its column's greatest value (the root's sum for time and bytes), for the bar behind the number; 0 without.
 * @param {Float32Array} measures @param {string} key @param {number} i */
export function partOf(measures, key, i) {
  const value = measureOf(measures, key, i);
  const whole = key === "time" ? 1 : key === "saved" ? measureOf(measures, key, 0) : NaN;
  const part = value / whole;
  return Number.isFinite(part) ? Math.min(1, Math.max(0, part)) : 0;
}

const ROLE_WORDS = {
  trains: ["trains", "Backward computes gradients for parameters here"],
  flows: [
    "flows through",
    "The gradient flows through: nothing is computed for parameters here, yet it is passed on",
  ],
  stops: ["stops here", "Backward stops here: no gradient is passed further back"],
  idle: ["nothing to do", "Nothing to do in backward: neither a gradient nor anything saved for one"],
};

/** What backward does in a row: a short text for the cell and a sentence; null where unknown.
 * @param {number | undefined} byte @returns {{role: string, short: string, long: string, expected: boolean} | null} */
export function roleOf(byte) {
  const role = ROLES[(byte ?? 0) & 7];
  const words = ROLE_WORDS[/** @type {keyof typeof ROLE_WORDS} */ (role)];
  if (!words) return null;
  const expected = ((byte ?? 0) & ROLE_EXPECTED) !== 0;
  const long = expected
    ? `${words[1]} (expected from the order of definition; nothing was measured yet)`
    : words[1];
  return { role, short: words[0], long, expected };
}

/** The points of a trend line in a box, as an SVG path; gaps where a value is missing. Logarithmic: gradient norms
 * are. @param {ArrayLike<number>} values @param {number} width @param {number} height */
export function trendPath(values, width, height) {
  const logs = Array.from(values, (value) => (value > 0 ? Math.log10(value) : NaN));
  const known = logs.filter(Number.isFinite);
  if (known.length < 2) return "";
  let [low, high] = [Math.min(...known), Math.max(...known)];
  // A line that hardly moves is drawn flat, not blown up to noise.
  const room = Math.max(0, 0.2 - (high - low)) / 2;
  [low, high] = [low - room, high + room];
  let path = "";
  let pen = "M";
  logs.forEach((value, k) => {
    if (!Number.isFinite(value)) {
      pen = "M";
      return;
    }
    const x = (k / (logs.length - 1)) * width;
    const y = height - ((value - low) / (high - low)) * height;
    path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  });
  return path;
}
