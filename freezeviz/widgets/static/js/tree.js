// @ts-check
/** The tree of the model: which rows there are and which of them show. Pure functions.
 * @typedef {import("./wire.js").Columns} Columns
 * @typedef {import("./wire.js").Tree} Tree
 */
import { FLAG_PARAMETER, UNFOLDED, float64, int32, uint8 } from "./wire.js";

export const FEW_ROWS = 24; // the tree opens level by level while it stays this short

/** @type {Columns} */
const NO_COLUMNS = {
  version: -1,
  labels: [],
  parents: [],
  kinds: [],
  kind_of: [],
  details: [],
  detail_of: [],
  counts: [],
  flags: [],
  aliases: {},
};

/** A tree without rows. */
export function emptyTree() {
  return buildTree(NO_COLUMNS);
}

/** The tree behind the columns, with what rows need worked out once. @param {Columns} columns @returns {Tree} */
export function buildTree(columns) {
  const parent = int32(columns.parents);
  const n = parent.length;
  const end = new Int32Array(n);
  const level = new Int32Array(n);
  const position = new Int32Array(n);
  const siblings = new Int32Array(n);
  const children = new Int32Array(n);
  let roots = 0;
  for (let i = 0; i < n; i++) {
    const p = parent[i];
    level[i] = p < 0 ? 0 : level[p] + 1;
    position[i] = p < 0 ? ++roots : ++children[p];
  }
  for (let i = n - 1; i >= 0; i--) {
    end[i] = Math.max(end[i], i + 1);
    const p = parent[i];
    siblings[i] = p < 0 ? roots : children[p];
    if (p >= 0) end[p] = Math.max(end[p], end[i]);
  }
  const kindOf = int32(columns.kind_of);
  const detailOf = int32(columns.detail_of);
  const labelOf = columns.label_of && int32(columns.label_of);
  return {
    n,
    version: columns.version,
    labels: labelOf ? Array.from(labelOf, (code) => columns.labels[code]) : columns.labels,
    parent,
    end,
    level,
    position,
    siblings,
    kinds: columns.kinds,
    kindOf,
    kind: (i) => columns.kinds[kindOf[i]] ?? "",
    detail: (i) => columns.details[detailOf[i]] ?? "",
    counts: float64(columns.counts),
    bytes: columns.bytes ? float64(columns.bytes) : new Float64Array(n),
    flags: uint8(columns.flags),
    aliases: columns.aliases ?? {},
  };
}

/** Whether row i has rows below it. @param {Tree} tree @param {number} i */
export function hasChildren(tree, i) {
  return tree.end[i] > i + 1;
}

/** Dotted path of row i; the root's is "". @param {Tree} tree @param {number} i */
export function pathOf(tree, i) {
  const parts = [];
  for (; i >= 0 && tree.parent[i] >= 0; i = tree.parent[i]) parts.push(tree.labels[i]);
  return parts.reverse().join(".");
}

/** Paths of all rows. @param {Tree} tree */
export function allPaths(tree) {
  /** @type {string[]} */ const paths = new Array(tree.n);
  for (let i = 0; i < tree.n; i++) {
    const p = tree.parent[i];
    if (p < 0) paths[i] = "";
    else paths[i] = tree.parent[p] < 0 ? tree.labels[i] : `${paths[p]}.${tree.labels[i]}`;
  }
  return paths;
}

/** The row of a path, or the nearest one above it: a tied parameter has one row and several paths.
 * @param {Map<string, number>} rowOf @param {string} path */
export function nearestRow(rowOf, path) {
  for (let name = path; name; name = name.slice(0, Math.max(0, name.lastIndexOf(".")))) {
    const row = rowOf.get(name);
    if (row !== undefined) return row;
  }
  return 0;
}

/** Rows that show, top to bottom, given which are open and, with a filter, which are kept.
 * @param {Tree} tree @param {Uint8Array} open @param {Uint8Array | null} [keep] @returns {Int32Array} */
export function visibleRows(tree, open, keep = null) {
  const rows = new Int32Array(tree.n);
  let count = 0;
  for (let i = 0; i < tree.n;) {
    if (keep && !keep[i]) {
      i = tree.end[i];
      continue;
    }
    rows[count++] = i;
    i = open[i] ? i + 1 : tree.end[i];
  }
  return rows.slice(0, count);
}

/** Where each row stands among the visible ones; -1 where it does not show. @param {Int32Array} rows @param {number} n */
export function placesOf(rows, n) {
  const places = new Int32Array(n).fill(-1);
  for (let k = 0; k < rows.length; k++) places[rows[k]] = k;
  return places;
}

/** What is open at first: level by level, modules only, while few rows show. @param {Tree} tree @param {number} few */
export function initiallyOpen(tree, few) {
  const open = new Uint8Array(tree.n);
  const isModule = (/** @type {number} */ i) => !(tree.flags[i] & FLAG_PARAMETER);
  for (let depth = 0; ; depth++) {
    const next = open.slice();
    let grew = false;
    for (let i = 0; i < tree.n; i++) {
      if (tree.level[i] !== depth || !hasChildren(tree, i)) continue;
      let modulesBelow = false;
      for (let k = i + 1; k < tree.end[i] && !modulesBelow; k = tree.end[k]) modulesBelow = isModule(k);
      if (depth === 0 || modulesBelow) {
        next[i] = 1;
        grew = true;
      }
    }
    if (!grew || (depth > 0 && visibleRows(tree, next).length > few)) return open;
    open.set(next);
  }
}

/** Open and close the rows of which something is said; returns whether that changed any.
 * @param {Tree} tree @param {Uint8Array} open which it changes @param {Uint8Array} folds */
export function fold(tree, open, folds) {
  let changed = false;
  for (let i = 0; i < folds.length; i++) {
    if (!folds[i] || !hasChildren(tree, i)) continue;
    const wanted = folds[i] === UNFOLDED ? 1 : 0;
    changed = changed || open[i] !== wanted;
    open[i] = wanted;
  }
  return changed;
}

/** Sums of the parameters' numbers before each row, one more than rows: of what is below row i there is
 * `sums[end[i]] - sums[i]`. Of the frozen ones only, if a state is given.
 * @param {Tree} tree @param {Uint8Array | null} [state] */
export function sumsBefore(tree, state = null) {
  const sums = new Float64Array(tree.n + 1);
  for (let i = 0; i < tree.n; i++) {
    const counts = tree.flags[i] & FLAG_PARAMETER && (state === null || (state[i] & 3) === 1);
    sums[i + 1] = sums[i] + (counts ? tree.counts[i] : 0);
  }
  return sums;
}

/** How many rows of a set are below each row, as sums before. @param {Uint8Array} marks @returns {Int32Array} */
export function marksBefore(marks) {
  const sums = new Int32Array(marks.length + 1);
  for (let i = 0; i < marks.length; i++) sums[i + 1] = sums[i] + (marks[i] ? 1 : 0);
  return sums;
}
