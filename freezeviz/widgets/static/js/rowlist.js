// @ts-check
/** The rows on the page: what there is, what is marked, and those in sight as elements. Others are not in the document.
 * @typedef {import("./wire.js").Tree} Tree
 * @typedef {{marks: Uint8Array, before: Int32Array}} Preview rows that a selector names (1), would change (2)
 */
import { COLUMNS, DEFAULT_COLUMNS, inOrder, layoutColumns, roleOf } from "./columns.js";
import { make, setAttribute, setText } from "./dom.js";
import { PENDING_MS, makeRow, paintMeasures, paintRow } from "./rows.js";
import { Selection } from "./selection.js";
import {
  FEW_ROWS,
  allPaths,
  emptyTree,
  fold,
  hasChildren,
  initiallyOpen,
  nearestRow,
  pathOf,
  placesOf,
  sumsBefore,
  visibleRows,
} from "./tree.js";
import { ROW_HEIGHT, boxHeight, listOffset, windowOf } from "./window.js";
import { BIT_LOCKED } from "./wire.js";

const MEASURED_ROLES = "What backward does there, as it was measured";
const EXPECTED_ROLES = "What backward is expected to do there; it will be measured when training runs";

export class RowList {
  constructor() {
    /** @type {Tree} */ this.tree = emptyTree();
    /** @type {Uint8Array} */ this.state = new Uint8Array(0);
    /** @type {Uint8Array} */ this.open = new Uint8Array(0);
    /** What a filter leaves, and what was open before it. @type {Uint8Array | null} */ this.keep = null;
    /** Of that, what passes it: the others are above such rows. @type {Uint8Array | null} */ this.matched = null;
    /** @type {Uint8Array | null} */ this.openBefore = null;
    /** @type {Int32Array} */ this.rows = new Int32Array(0);
    /** @type {Int32Array} */ this.places = new Int32Array(0);
    this.focus = 0;
    this.selection = new Selection(0);
    /** Rows that a search found. @type {Set<number>} */ this.found = new Set();
    this.wanted = "";
    this.current = -1; // of the found ones
    /** @type {Preview | null} */ this.preview = null;
    /** @type {Float32Array} */ this.measures = new Float32Array(0);
    /** @type {Uint8Array} */ this.roles = new Uint8Array(0);
    /** @type {Map<number, ArrayLike<number>>} */ this.trends = new Map();
    /** @type {Map<number, HTMLElement>} */ this.drawn = new Map();
    /** Clicks of this view that the kernel has not answered: row -> time. @type {Map<number, number>} */ this.waiting =
      new Map();
    this.frozenBefore = new Float64Array(1);
    this.countBefore = new Float64Array(1);
    /** @type {Int32Array} */ this.lockedBefore = new Int32Array(1);
    /** Rows a row shares an array with, the other way round. @type {Map<number, number>} */ this.borrows =
      new Map();
    /** @type {Map<string, number> | null} */ this.rowOfPath = null;
    /** @type {string[] | null} */ this.pathsOfRows = null;
    this.columns = inOrder(DEFAULT_COLUMNS);
    this.layoutOf = layoutColumns(this.columns, 0);

    this.element = make("div", "fz-tree", undefined, {
      role: "treegrid",
      "aria-label": "Model",
      "aria-multiselectable": "true",
      tabindex: "-1", // for a focus that finds no row
    });
    this.head = make("div", "fz-head", undefined, { role: "row", "aria-rowindex": "1" });
    const group = make("div", "fz-headgroup", undefined, { role: "rowgroup" });
    group.append(this.head);
    this.body = make("div", "fz-body", undefined, { role: "rowgroup" });
    this.empty = make("div", "fz-empty", "This model has no layers.");
    this.element.append(group, this.body);

    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    // A resized or newly shown grid has room for other rows and columns.
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.element);
    this.showColumns();
  }

  dispose() {
    this.observer.disconnect();
  }

  // ---- what there is

  /** @param {Tree} tree */
  setTree(tree) {
    const old = this.tree;
    const openPaths = new Set();
    const before = this.openBefore ?? this.open;
    for (let i = 0; i < old.n; i++) if (before[i]) openPaths.add(pathOf(old, i));
    const focusPath = old.n ? pathOf(old, this.focus) : "";
    const selected = new Set(this.selection.rows().map((i) => pathOf(old, i)));
    this.tree = tree;
    this.rowOfPath = this.pathsOfRows = this.keep = this.matched = this.openBefore = this.preview = null;
    this.open = initiallyOpen(tree, FEW_ROWS);
    this.focus = 0;
    this.selection = new Selection(tree.n);
    if (old.n) {
      const paths = this.paths();
      for (let i = 0; i < tree.n; i++) {
        if (hasChildren(tree, i)) this.open[i] = openPaths.has(paths[i]) ? 1 : this.open[i];
        if (paths[i] === focusPath) this.focus = i;
        if (selected.has(paths[i])) this.selection.set(i, true);
      }
    }
    this.state = new Uint8Array(tree.n);
    this.measures = new Float32Array(0);
    this.roles = new Uint8Array(0);
    this.trends.clear();
    this.found.clear();
    this.current = -1;
    this.waiting.clear();
    this.countBefore = sumsBefore(tree);
    this.frozenBefore = new Float64Array(tree.n + 1);
    this.lockedBefore = new Int32Array(tree.n + 1);
    this.borrows = new Map();
    for (const [i, names] of Object.entries(tree.aliases))
      for (const name of names) {
        const row = nearestRow(this.rowOf(), name);
        if (row !== 0 && row !== Number(i)) this.borrows.set(row, Number(i));
      }
    const bare = tree.n <= 1;
    if (bare) {
      setText(
        this.empty,
        tree.n ? "This model has no layers and no parameters." : "This model has no layers.",
      );
      this.element.after(this.empty);
    } else this.empty.remove();
    this.keepingFocus(() => {
      this.forgetDrawn();
      this.layout();
    });
  }

  /** @param {Uint8Array} state */
  setState(state) {
    if (state.length !== this.tree.n) return false; // belongs to a structure that is on its way
    this.state = state;
    this.frozenBefore = sumsBefore(this.tree, state);
    const locked = new Int32Array(this.tree.n + 1);
    // Locked here or above: of nested locks the widest counts.
    let until = 0;
    for (let i = 0; i < this.tree.n; i++) {
      if (state[i] & BIT_LOCKED) until = Math.max(until, this.tree.end[i]);
      locked[i + 1] = locked[i] + (i < until ? 1 : 0);
    }
    this.lockedBefore = locked;
    this.paintAll();
    return true;
  }

  /** Fold and unfold the rows of which something was said. @param {Uint8Array} folds */
  setFolds(folds) {
    if (folds.length !== this.tree.n) return; // none, or of a structure that is on its way
    const changed = fold(this.tree, this.openBefore ?? this.open, folds);
    if (changed && !this.keep) this.layout();
  }

  /** @param {Float32Array} measures @param {Uint8Array} roles */
  setMeasures(measures, roles) {
    this.measures = measures;
    this.roles = roles.length === this.tree.n ? roles : new Uint8Array(0);
    this.paintHead();
    for (const [i, row] of this.drawn) paintMeasures(this, i, row);
  }

  paintHead() {
    const title = this.head.querySelector(".fz-backward");
    if (!title || !this.roles.length) return;
    const expected = Boolean(roleOf(this.roles.find((byte) => (byte & 7) !== 0))?.expected);
    setAttribute(title, "data-expected", expected ? "true" : null);
    title.setAttribute("title", expected ? EXPECTED_ROLES : MEASURED_ROLES);
  }

  /** @param {number[]} rows @param {Float32Array} values row after row */
  setTrends(rows, values) {
    const points = rows.length ? Math.floor(values.length / rows.length) : 0;
    rows.forEach((i, k) => this.trends.set(i, values.subarray(k * points, (k + 1) * points)));
    for (const i of rows) this.repaint(i);
  }

  /** Paths of all rows, made when they are wanted. */
  paths() {
    this.pathsOfRows ??= allPaths(this.tree);
    return this.pathsOfRows;
  }

  rowOf() {
    this.rowOfPath ??= new Map(this.paths().map((path, i) => [path, i]));
    return this.rowOfPath;
  }

  /** Where a row's array is used too: a parameter's other place, or what another place borrows.
   * @param {number} i @returns {{row: number, word: string, title: string} | null} */
  tiedTo(i) {
    const aliases = this.tree.aliases[String(i)];
    if (aliases?.length) {
      const title = `The same as ${aliases.join(", ")}: frozen together\nGo there (Shift+J)`;
      return { row: nearestRow(this.rowOf(), aliases[0]), word: "shared", title };
    }
    const lender = this.borrows.get(i);
    if (lender === undefined) return null;
    return {
      row: lender,
      word: "shares",
      title: `Uses ${pathOf(this.tree, lender)} as well\nGo there (Shift+J)`,
    };
  }

  /** @param {number} i */
  isLocked(i) {
    return (this.lockedBefore[i + 1] ?? 0) > (this.lockedBefore[i] ?? 0);
  }

  /** Numbers that train and that are frozen. */
  totals() {
    const frozen = this.frozenBefore[this.tree.n] ?? 0;
    return { frozen, trainable: (this.countBefore[this.tree.n] ?? 0) - frozen };
  }

  // ---- marks

  /** @param {number} id */
  wait(id) {
    this.waiting.set(id, performance.now());
    this.repaint(id);
    setTimeout(() => this.repaint(id), PENDING_MS);
  }

  /** @param {number} id */
  answered(id) {
    this.waiting.delete(id);
    this.repaint(id);
  }

  /** @param {Int32Array} rows @param {string} wanted @param {number} current */
  setFound(rows, wanted, current) {
    this.found = new Set(rows);
    this.wanted = wanted;
    this.current = current;
    this.paintAll();
  }

  /** @param {Preview | null} preview */
  setPreview(preview) {
    this.preview = preview;
    this.paintAll();
  }

  /** @param {{keep: Uint8Array, open: Uint8Array, matched: Uint8Array} | null} filtered */
  setFilter(filtered) {
    if (filtered) {
      this.openBefore ??= this.open;
      this.keep = filtered.keep;
      this.open = filtered.open;
      this.matched = filtered.matched;
    } else if (this.keep) {
      this.keep = this.matched = null;
      this.open = this.openBefore ?? this.open;
      this.openBefore = null;
    } else return;
    this.layout();
  }

  // ---- columns

  /** @param {string[]} keys */
  setColumns(keys) {
    this.columns = inOrder(keys);
    this.drawColumns();
  }

  drawColumns() {
    this.showColumns();
    this.keepingFocus(() => {
      this.forgetDrawn();
      this.draw();
    });
  }

  showColumns() {
    this.layoutOf = layoutColumns(this.columns, this.element.clientWidth);
    this.element.style.setProperty("--fz-grid", this.layoutOf.template);
    this.element.style.setProperty("--fz-least", `${this.layoutOf.least}px`);
    setAttribute(this.element, "data-wide", this.layoutOf.least > this.element.clientWidth ? "true" : null);
    setAttribute(this.element, "aria-colcount", String(this.columns.length + 1));
    const cells = [make("span", "fz-name", "Name", { role: "columnheader" })];
    for (const column of COLUMNS) {
      if (!this.columns.includes(column.key)) continue;
      const cell = make("span", `fz-${column.key}`, column.title, {
        role: "columnheader",
        title: column.more ?? column.says,
      });
      if (column.number) cell.classList.add("fz-num");
      if (!this.layoutOf.shown.includes(column.key)) cell.classList.add("fz-unseen");
      cells.push(cell);
    }
    this.head.replaceChildren(...cells);
    this.paintHead();
  }

  resized() {
    const { template, least } = layoutColumns(this.columns, this.element.clientWidth);
    const wide = least > this.element.clientWidth;
    if (template !== this.layoutOf.template || wide !== this.element.hasAttribute("data-wide")) this.drawColumns();
    else this.draw();
  }

  // ---- drawing

  forgetDrawn() {
    for (const row of this.drawn.values()) row.remove();
    this.drawn.clear();
  }

  paintAll() {
    for (const [i, row] of this.drawn) paintRow(this, i, row);
  }

  /** @param {number} id */
  repaint(id) {
    const row = this.drawn.get(id);
    if (row) paintRow(this, id, row);
  }

  layout() {
    const place = this.places[this.focus] ?? 0;
    this.rows = visibleRows(this.tree, this.open, this.keep);
    this.places = placesOf(this.rows, this.tree.n);
    if (this.places[this.focus] === -1) this.focus = this.besides(place);
    this.body.style.height = `${boxHeight(this.rows.length)}px`;
    setAttribute(this.element, "aria-rowcount", String(this.rows.length + 1));
    this.keepingFocus(() => this.draw());
  }

  /** Where the focus goes when its row does not show any more: a filter's next row, else the one that was closed.
   * @param {number} place where it was */
  besides(place) {
    if (this.keep) return this.rows[Math.max(0, Math.min(place, this.rows.length - 1))] ?? 0;
    let i = this.focus;
    while (i > 0 && this.places[i] === -1) i = this.tree.parent[i];
    return i;
  }

  /** Draw, and leave the focus in the tree if it was there; one row, and one only, is where Tab leads.
   * @param {() => void} draw */
  keepingFocus(draw) {
    const active = document.activeElement;
    const within = active === this.element || this.body.contains(active);
    draw();
    for (const [i, row] of this.drawn) setAttribute(row, "tabindex", i === this.focus ? "0" : "-1");
    if (within && !this.body.contains(document.activeElement))
      (this.drawn.get(this.focus) ?? this.element).focus({ preventScroll: true });
  }

  /** Height in which rows are seen. */
  get room() {
    return Math.max(0, this.element.clientHeight - this.head.offsetHeight);
  }

  /** Only rows in sight are in the document, and the focused one: removing it would lose the focus. */
  draw() {
    // Not attached yet: enough rows for the greatest height that the style sheet allows.
    const room = this.room || 560;
    const offset = listOffset(this.element.scrollTop, room, this.rows.length);
    const shift = this.element.scrollTop - offset; // 0 but for very long lists
    const [first, last] = windowOf(offset, room, this.rows.length);
    /** @type {Map<number, number>} */ const wanted = new Map();
    const focusAt = this.places[this.focus] ?? -1;
    if (focusAt >= 0 && focusAt < first) wanted.set(this.focus, focusAt);
    for (let k = first; k < last; k++) wanted.set(this.rows[k], k);
    if (focusAt >= last) wanted.set(this.focus, focusAt);
    for (const [i, row] of this.drawn) {
      if (wanted.has(i)) continue;
      row.remove();
      this.drawn.delete(i);
    }
    // Rows that stay are never moved (that would blur them): new ones are put between.
    let next = this.body.firstElementChild;
    for (const [i, k] of wanted) {
      let row = this.drawn.get(i);
      if (row === undefined) {
        row = makeRow(this, i);
        this.drawn.set(i, row);
        this.body.insertBefore(row, next);
      } else {
        next = row.nextElementSibling;
      }
      const top = `${k * ROW_HEIGHT + shift}px`;
      if (row.style.top !== top) row.style.top = top;
      setAttribute(row, "aria-rowindex", String(k + 2));
      if (hasChildren(this.tree, i)) setAttribute(row, "aria-expanded", this.open[i] ? "true" : "false");
    }
  }
}
