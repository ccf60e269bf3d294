// @ts-check
/** Searching and filtering rows, in the page: it works while the kernel is busy. Pure functions.
 * The same as `controller.search` and `controller.filter`.
 * @typedef {import("./wire.js").Tree} Tree
 * @typedef {{state: string, kind: string, statistics: boolean, found: boolean}} Filter
 */
import { BIT_HELD, BIT_LOCKED, BIT_PENDING, FLAG_BUFFERS, FLAG_PARAMETER, STATES } from "./wire.js";

/** @type {Filter} */
export const NO_FILTER = { state: "", kind: "", statistics: false, found: false };

export const FILTER_STATES = ["trainable", "frozen", "mixed", "held", "locked", "pending"];

/** What a search looks through, lower case: path, type and further paths of each row.
 * @param {Tree} tree @param {string[]} paths */
export function haystack(tree, paths) {
  const kinds = tree.kinds.map((kind) => kind.toLowerCase());
  return paths.map((path, i) => {
    const own = `${path.toLowerCase()}\n${kinds[tree.kindOf[i]] ?? ""}`;
    const also = tree.aliases[String(i)];
    return also ? `${own}\n${also.join("\n").toLowerCase()}` : own;
  });
}

/** Rows with a text in a path or the type. @param {string[]} hay @param {string} text @returns {Int32Array} */
export function searchRows(hay, text) {
  const wanted = text.toLowerCase();
  if (!wanted) return new Int32Array(0);
  const found = [];
  for (let i = 0; i < hay.length; i++) if (hay[i].includes(wanted)) found.push(i);
  return Int32Array.from(found);
}

/** Index into `found` of the next (or previous) one from a row on, round the end.
 * @param {Int32Array} found @param {number} row @param {1 | -1} way @param {boolean} [here] the row itself counts */
export function nextFound(found, row, way, here = false) {
  if (!found.length) return -1;
  if (way > 0) {
    for (let k = 0; k < found.length; k++) if (here ? found[k] >= row : found[k] > row) return k;
    return 0;
  }
  for (let k = found.length - 1; k >= 0; k--) if (here ? found[k] <= row : found[k] < row) return k;
  return found.length - 1;
}

/** Where in a text a search text stands: [before, match, after], or null.
 * @param {string} text @param {string} wanted @returns {[string, string, string] | null} */
export function splitAt(text, wanted) {
  const lower = text.toLowerCase();
  const at = wanted ? lower.indexOf(wanted.toLowerCase()) : -1;
  // Lower case may be longer than the text (the Turkish dotted I): then nothing is marked rather than the wrong thing.
  if (at < 0 || lower.length !== text.length) return null;
  const end = at + wanted.length;
  return [text.slice(0, at), text.slice(at, end), text.slice(end)];
}

/** Whether a filter leaves out anything. @param {Filter} filter */
export function isFiltering(filter) {
  return Boolean(filter.state || filter.kind || filter.statistics || filter.found);
}

/** Whether a row has a state. @param {number} byte @param {boolean} locked here or above @param {string} state */
function hasState(byte, locked, state) {
  if (state === "held") return (byte & BIT_HELD) !== 0;
  if (state === "locked") return locked;
  if (state === "pending") return (byte & BIT_PENDING) !== 0;
  return STATES[byte & 3] === state;
}

/** Rows that pass a filter as `matched`, those and what is above them as `keep`, and which have kept rows below.
 * @param {Tree} tree @param {Uint8Array} state @param {Filter} filter @param {Int32Array} found */
export function filterRows(tree, state, filter, found) {
  const kind = filter.kind ? tree.kinds.indexOf(filter.kind) : -1;
  const inFound = new Uint8Array(tree.n);
  if (filter.found) for (const i of found) inFound[i] = 1;
  const matched = new Uint8Array(tree.n);
  const keep = new Uint8Array(tree.n);
  const open = new Uint8Array(tree.n);
  let count = 0;
  let lockedUntil = 0;
  for (let i = 0; i < tree.n; i++) {
    if (state[i] & BIT_LOCKED) lockedUntil = Math.max(lockedUntil, tree.end[i]);
    if (filter.state && !hasState(state[i], i < lockedUntil, filter.state)) continue;
    if (filter.kind && tree.kindOf[i] !== kind) continue;
    if (filter.statistics && !(tree.flags[i] & FLAG_BUFFERS)) continue;
    if (filter.found && !inFound[i]) continue;
    count++;
    matched[i] = keep[i] = 1;
    for (let p = tree.parent[i]; p >= 0 && !open[p]; p = tree.parent[p]) keep[p] = open[p] = 1;
  }
  return { keep, open, matched, count };
}

/** Types of the modules and how many there are of each, most first. @param {Tree} tree @returns {[string, number][]} */
export function kindCounts(tree) {
  const counts = new Int32Array(tree.kinds.length);
  for (let i = 0; i < tree.n; i++) if (!(tree.flags[i] & FLAG_PARAMETER)) counts[tree.kindOf[i]]++;
  return tree.kinds
    .map((kind, k) => /** @type {[string, number]} */ ([kind, counts[k]]))
    .filter(([, n]) => n > 0)
    .sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
}
