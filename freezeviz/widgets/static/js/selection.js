// @ts-check
/** Which rows are selected. Pure but for the class's own marks.
 * @typedef {import("./wire.js").Tree} Tree
 */

export class Selection {
  /** @param {number} n */
  constructor(n) {
    this.marks = new Uint8Array(n);
    this.count = 0;
    this.anchor = -1; // where Shift extends from
  }

  /** @param {number} i */
  has(i) {
    return this.marks[i] === 1;
  }

  clear() {
    this.marks.fill(0);
    this.count = 0;
  }

  /** @param {number} i @param {boolean} on */
  set(i, on) {
    if (i < 0 || i >= this.marks.length || this.has(i) === on) return;
    this.marks[i] = on ? 1 : 0;
    this.count += on ? 1 : -1;
  }

  /** Ctrl+click. @param {number} i */
  flip(i) {
    this.set(i, !this.has(i));
    this.anchor = i;
  }

  /** Shift+click: from the anchor to row i, as they show. With a filter, those that pass it: what is above them shows
   * too, and freezing it would freeze rows that nobody sees. @param {Int32Array} rows @param {Int32Array} places
   * @param {number} i @param {Uint8Array | null} [matched] */
  extend(rows, places, i, matched = null) {
    const from = this.anchor >= 0 && places[this.anchor] >= 0 ? places[this.anchor] : places[i];
    if (this.anchor < 0 || places[this.anchor] < 0) this.anchor = i;
    const to = places[i];
    this.clear();
    for (let k = Math.min(from, to); k <= Math.max(from, to); k++)
      if (passes(matched, rows[k])) this.set(rows[k], true);
  }

  /** @param {Iterable<number>} rows */
  replace(rows) {
    this.clear();
    for (const i of rows) this.set(i, true);
  }

  /** All selected rows, top to bottom. @returns {number[]} */
  rows() {
    const rows = [];
    for (let i = 0; i < this.marks.length; i++) if (this.marks[i]) rows.push(i);
    return rows;
  }
}

/** Whether a filter, if there is one, lets a row pass. @param {Uint8Array | null} matched @param {number} i */
function passes(matched, i) {
  return matched === null || matched[i] === 1;
}

/** Rows that show and pass the filter, if there is one. @param {Int32Array} rows @param {Uint8Array | null} matched */
export function selectable(rows, matched) {
  return rows.filter((i) => passes(matched, i));
}

/** Of some rows, those without one of the others above them: what is done to a row is done to all below it.
 * @param {Tree} tree @param {number[]} rows in order */
export function topmost(tree, rows) {
  const top = [];
  let end = -1;
  for (const i of rows) {
    if (i < end) continue;
    top.push(i);
    end = tree.end[i];
  }
  return top;
}

/** Numbers in the parameters of some rows, none counted twice. @param {Tree} tree @param {number[]} rows */
export function countOf(tree, rows) {
  return topmost(tree, rows).reduce((sum, i) => sum + tree.counts[i], 0);
}
