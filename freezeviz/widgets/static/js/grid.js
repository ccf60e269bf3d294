// @ts-check
/** The tree on the page: a WAI-ARIA treegrid, used by mouse and keyboard.
 * @typedef {{toggle: (id: number) => void, details: (id: number) => void, focused: (id: number) => void,
 *   selected: () => void, folded: (open: boolean, rows: number[]) => void, menu: (id: number, x: number, y: number) => void}} GridCalls
 */
import { keyAction, nextStartingWith } from "./keys.js";
import { RowList } from "./rowlist.js";
import { selectable } from "./selection.js";
import { hasChildren } from "./tree.js";
import { ROW_HEIGHT, listOffset, scrollTopOf } from "./window.js";

export class TreeGrid extends RowList {
  /** @param {GridCalls} calls */
  constructor(calls) {
    super();
    this.calls = calls;
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("contextmenu", (event) => this.menuWanted(event));
    this.body.addEventListener("focusin", (event) => {
      const row = /** @type {Element} */ (event.target).closest(".fz-row");
      if (row) this.setFocus(Number(row.getAttribute("data-id")), false);
    });
  }

  // ---- mouse and keyboard

  /** @param {MouseEvent} event */
  clicked(event) {
    const target = /** @type {Element} */ (event.target);
    const row = target.closest(".fz-row");
    if (!row) return;
    const i = Number(row.getAttribute("data-id"));
    this.setFocus(i, true);
    if (target.closest(".fz-twisty") && hasChildren(this.tree, i)) this.setOpen(i, !this.open[i]);
    else if (target.closest(".fz-more")) this.calls.details(i);
    else if (target.closest(".fz-tied"))
      this.goTo(Number(target.closest(".fz-tied")?.getAttribute("data-row")));
    else if (event.shiftKey) {
      this.selection.extend(this.rows, this.places, i, this.matched);
      this.selectionChanged();
    } else if (event.ctrlKey || event.metaKey) {
      this.selection.flip(i);
      this.selectionChanged();
    } else {
      this.deselect();
      this.selection.anchor = i;
      this.calls.toggle(i);
    }
  }

  /** @param {MouseEvent} event */
  menuWanted(event) {
    const row = /** @type {Element} */ (event.target).closest(".fz-row");
    if (!row || event.shiftKey) return; // with Shift, the browser's own
    event.preventDefault();
    event.stopPropagation();
    const i = Number(row.getAttribute("data-id"));
    this.setFocus(i, true);
    // Outside of a selection a menu is about its row alone.
    if (this.selection.count && !this.selection.has(i)) this.deselect();
    this.calls.menu(i, event.clientX, event.clientY);
  }

  deselect() {
    if (!this.selection.count) return false;
    this.selection.clear();
    this.selectionChanged();
    return true;
  }

  /** @param {number} i @param {boolean} grab */
  setFocus(i, grab) {
    const old = this.drawn.get(this.focus);
    const moved = this.focus !== i;
    if (old && moved) old.tabIndex = -1;
    this.focus = i;
    if (grab) this.reveal(i);
    const row = this.drawn.get(i);
    if (row) {
      row.tabIndex = 0;
      if (grab && document.activeElement !== row) row.focus({ preventScroll: true });
    }
    if (moved) this.calls.focused(i);
  }

  /** Open what is above row i. @param {number} i */
  openAbove(i) {
    const opened = [];
    for (let p = this.tree.parent[i]; p >= 0; p = this.tree.parent[p]) {
      if (!this.open[p]) opened.push(p);
      this.open[p] = 1;
      if (this.keep) this.keep[p] = 1;
    }
    if (opened.length && !this.keep) this.calls.folded(true, opened);
    const added = this.keep !== null && !this.keep[i];
    if (this.keep) this.keep[i] = 1;
    if (opened.length || added) this.layout();
  }

  /** Show row i wherever it is, and put the focus there. @param {number} i */
  goTo(i) {
    this.openAbove(i);
    this.setFocus(i, true);
  }

  /** Bring row i into sight; it must not be in a closed one. @param {number} i */
  reveal(i) {
    const place = this.places[i];
    if (place === undefined || place < 0) return;
    const { room } = this;
    const offset = listOffset(this.element.scrollTop, room, this.rows.length);
    const top = place * ROW_HEIGHT;
    let wanted = offset;
    if (top < offset) wanted = top;
    else if (top + ROW_HEIGHT > offset + room) wanted = top + ROW_HEIGHT - room;
    if (wanted !== offset) this.element.scrollTop = scrollTopOf(wanted, room, this.rows.length);
    this.draw();
  }

  /** @param {number} i @param {boolean} open */
  setOpen(i, open) {
    this.open[i] = open ? 1 : 0;
    if (!this.keep) this.calls.folded(open, [i]); // with a filter it is the filter's
    const lost = !open && this.focus > i && this.focus < this.tree.end[i];
    if (lost) this.setFocus(i, true);
    this.layout();
  }

  /** @param {boolean} open */
  setAllOpen(open) {
    if (!this.keep) this.calls.folded(open, []);
    for (let i = 0; i < this.tree.n; i++) this.open[i] = open && hasChildren(this.tree, i) ? 1 : 0;
    // Collapsed, the top level still shows: a lone root row says little.
    if (!open && this.tree.n && hasChildren(this.tree, 0)) this.open[0] = 1;
    this.layout();
  }

  /** Moves of the tree itself; returns whether the key was one. @param {KeyboardEvent} event */
  key(event) {
    if (!this.tree.n) return false;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW_HEIGHT) - 2);
    const action = keyAction(event.key, this.tree, this.open, this.rows, this.focus, page);
    if (action === null) {
      if (event.key.length !== 1) return false;
      this.setFocus(nextStartingWith(this.tree, this.rows, this.focus, event.key), true);
      return true;
    }
    if (action.open !== undefined) this.setOpen(action.open, true);
    if (action.close !== undefined) this.setOpen(action.close, false);
    const far = ["Home", "End", "PageUp", "PageDown"].includes(event.key);
    if (action.focus !== undefined && event.shiftKey && far) this.extendTo(action.focus);
    else if (action.focus !== undefined) this.setFocus(action.focus, true);
    if (action.toggle !== undefined && !event.repeat) this.calls.toggle(action.toggle);
    return true;
  }

  /** Shift and an arrow: the row above or below joins, or leaves. @param {1 | -1} way */
  extend(way) {
    const place = Math.max(0, Math.min(this.rows.length - 1, this.places[this.focus] + way));
    this.extendTo(this.rows[place]);
  }

  /** All from where the selection began. @param {number} i */
  extendTo(i) {
    if (this.selection.anchor < 0 || !this.selection.count) this.selection.anchor = this.focus;
    this.setFocus(i, true);
    this.selection.extend(this.rows, this.places, i, this.matched);
    this.selectionChanged();
  }

  /** All rows that show, of a filter those that pass it. */
  selectAll() {
    this.select(selectable(this.rows, this.matched));
  }

  flipFocused() {
    this.selection.flip(this.focus);
    this.selectionChanged();
  }

  // ---- selection

  /** @param {Iterable<number>} rows */
  select(rows) {
    this.selection.replace(rows);
    this.selectionChanged();
  }

  selectionChanged() {
    this.paintAll();
    this.calls.selected();
  }
}
