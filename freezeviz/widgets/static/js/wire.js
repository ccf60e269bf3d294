// @ts-check
/**
 * What goes over the wire, and how it is read.
 *
 * Kernel to page, as traits (each is the whole truth of its part, so a view may join at any time):
 *   tree      columns of the structure, sent once; rows are in preorder, parents before children
 *   state     one byte a row: bits 0-1 the state (0 trainable, 1 frozen, 2 mixed, 3 nothing to freeze),
 *             4 held, 8 requested but not yet applied, 16 locked
 *   folds     one byte a row: 1 folded, 2 unfolded, by code or on a page; 0 where nobody said anything; empty at first
 *   measures  four float32 a row: gradient norm, update/weight ratio, share of the step's time, bytes that
 *             the tape kept; NaN where unknown; empty while nothing was measured
 *   roles     one byte a row: what backward does there (ROLES), +8 where only expected; may be empty
 *   info      {note: {n, level, text}, undo, redo, presets: {name: label}, selected: {n, view, rows}, and, null until
 *             somebody has said it: columns: [name], plots: {plot, x, log, smooth, metrics, table}}
 *   run       null without a run, else the numbers of the dashboard
 *   curves    tables of losses and metrics, marks what was changed when, heat gradients over time: see curves.js,
 *             marks.js, heatmap.js
 * Page to kernel, as custom messages: {type, view, seq, ...}. The kernel answers {type: "ack", view, seq} after
 * it has sent the state that the message led to, and {type: "answer", view, seq, about, ...} to "ask". What all views
 * show alike (selection, folds, columns, plots) each changes at once and tells; until that is answered, it goes by what
 * it has, not by what the traits say.
 *
 * Names come from users' models: they reach the page through textContent and attributes, never as HTML.
 *
 * @typedef {number[] | DataView | ArrayBuffer} Numbers lists in tests and old front ends, else little-endian
 * @typedef {{version: number, labels: string[], label_of?: Numbers, parents: Numbers, kinds: string[],
 *   kind_of: Numbers, details: string[], detail_of: Numbers, counts: Numbers, bytes?: Numbers, flags: Numbers,
 *   aliases: Record<string, string[]>}} Columns
 * @typedef {{n: number, version: number, labels: string[], parent: Int32Array, end: Int32Array,
 *   level: Int32Array, position: Int32Array, siblings: Int32Array, kinds: string[], kindOf: Int32Array,
 *   kind: (i: number) => string, detail: (i: number) => string, counts: Float64Array, bytes: Float64Array,
 *   flags: Uint8Array, aliases: Record<string, string[]>}} Tree
 * @typedef {{n: number, level: string, text: string}} Note
 * @typedef {{note?: Note, undo?: string | null, redo?: string | null, presets?: Record<string, string>,
 *   selected?: {n: number, view: string, rows: number[]}, columns?: string[] | null, plots?: Look | null}} Info
 * @typedef {{plot: string, x: string, log: boolean, smooth: number, metrics: string[] | null, table: boolean}} Look
 * @typedef {{status: string, step: number, planned: number, epoch: number, epochs: number, rate: number,
 *   loss: number | null, accuracy: number | null, validation_loss: number | null,
 *   validation_accuracy: number | null, error: string | null, not_finite: string | null, can_start?: boolean,
 *   can_pause?: boolean, can_stop?: boolean, features?: string | null}} Run
 * @typedef {{get(name: string): any, send(message: object): void,
 *   on(event: string, callback: (...args: any[]) => void): void,
 *   off(event: string, callback: (...args: any[]) => void): void}} Model
 */

export const FLAG_PARAMETER = 1;
export const FLAG_BUFFERS = 2;
export const BIT_HELD = 4;
export const BIT_PENDING = 8;
export const BIT_LOCKED = 16;
export const FOLDED = 1;
export const UNFOLDED = 2;
export const STATES = ["trainable", "frozen", "mixed", "none"];
export const ROLES = ["unknown", "trains", "flows", "stops", "idle"];
export const ROLE_EXPECTED = 8;
export const MEASURES = 4; // float32 a row in the trait `measures`

/** Bytes of a Bytes trait, whatever view of them the front end hands out. @param {any} value */
export function bytesOf(value) {
  if (!value) return new Uint8Array(0);
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

/** A copy that begins where any typed array may. @param {any} value */
function aligned(value) {
  return bytesOf(value).slice().buffer;
}

/** @param {Numbers | undefined} value @returns {Int32Array} */
export function int32(value) {
  return Array.isArray(value) ? Int32Array.from(value) : new Int32Array(aligned(value));
}

/** @param {Numbers | undefined} value @returns {Float64Array} */
export function float64(value) {
  return Array.isArray(value) ? Float64Array.from(value) : new Float64Array(aligned(value));
}

/** @param {any} value @returns {Float32Array} */
export function float32(value) {
  const bytes = bytesOf(value);
  return new Float32Array(bytes.slice(0, bytes.length - (bytes.length % 4)).buffer);
}

/** @param {Numbers} value @returns {Uint8Array} */
export function uint8(value) {
  return Array.isArray(value) ? Uint8Array.from(value) : bytesOf(value).slice();
}

/** Bytes of an answer are in its buffers: {"buffer": 3} stands for the fourth. @param {any} value
 * @param {DataView[]} buffers @returns {any} */
export function revive(value, buffers) {
  if (Array.isArray(value)) return value.map((item) => revive(item, buffers));
  if (value === null || typeof value !== "object") return value;
  if (Number.isInteger(value.buffer)) return buffers[value.buffer];
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, revive(item, buffers)]));
}
