// @ts-check
/** Search, filter and selector: three ways to find rows, and what they show in the tree.
 * @typedef {import("./talk.js").Talk} Talk
 * @typedef {import("./grid.js").TreeGrid} TreeGrid
 */
import { button, make, setAttribute, tellKeys } from "./dom.js";
import { FilterBar } from "./filterbar.js";
import { filterRows, haystack, isFiltering, kindCounts, nextFound, searchRows } from "./find.js";
import { counted, nameOf } from "./format.js";
import { SearchBox } from "./searchbox.js";
import { SelectorBox } from "./selectorbox.js";
import { marksBefore, pathOf } from "./tree.js";
import { int32 } from "./wire.js";

export class Finding {
  /** @param {TreeGrid} grid @param {Talk} talk @param {(text: string) => void} say to those who hear the page */
  constructor(grid, talk, say) {
    this.grid = grid;
    this.talk = talk;
    this.say = say;
    /** @type {string[] | null} */ this.hay = null;
    /** @type {Int32Array} */ this.found = new Int32Array(0);
    this.search = new SearchBox((now) => this.searched(now));
    this.search.input.addEventListener("focus", () => setTimeout(() => this.prepared()));
    this.filter = new FilterBar(() => this.filtered());
    this.selector = new SelectorBox({
      preview: (text, what) => this.preview(text, what),
      act: (what, text) => this.talk.send("do", { action: what, selector: text }),
    });
    this.openers = { filter: this.opener("filter", "Filter"), selector: this.opener("selector", "Select") };
    this.line = make("div", "fz-find");
    this.line.append(this.search.element, this.openers.filter, this.openers.selector);
  }

  /** A button that shows and hides a panel. @param {string} id @param {string} label */
  opener(id, label) {
    const opener = button(id, label);
    tellKeys(opener, [id]);
    opener.setAttribute("aria-expanded", "false");
    return opener;
  }

  dispose() {
    this.search.dispose();
    this.selector.dispose();
  }

  /** The tree is another. */
  restart() {
    this.hay = null;
    this.filter.setKinds(kindCounts(this.grid.tree));
    this.searched(false);
    this.filtered();
    if (!this.selector.element.hidden) this.selector.ask();
  }

  /** What is frozen is another. */
  stateChanged() {
    if (this.filter.filter.state) this.filtered();
    if (this.selector.text && !this.selector.element.hidden) this.selector.ask();
  }

  // ---- search

  /** What is searched in; made when somebody is about to search. */
  prepared() {
    this.hay ??= haystack(this.grid.tree, this.grid.paths());
    return this.hay;
  }

  /** @param {boolean} go to the first found row from the focus on */
  searched(go) {
    const { grid } = this;
    const text = this.search.text;
    this.found = text ? searchRows(this.prepared(), text) : new Int32Array(0);
    this.show(nextFound(this.found, go ? grid.focus : grid.current, 1, true), go);
    if (this.filter.filter.found) this.filtered();
    if (go && text) this.say(`${counted(this.found.length, "row")} found`);
  }

  /** @param {number} at @param {boolean} reveal */
  show(at, reveal) {
    const row = at >= 0 ? this.found[at] : -1;
    this.grid.setFound(this.found, this.search.text, row);
    this.search.show(at + 1, this.found.length);
    if (row < 0 || !reveal) return;
    this.grid.openAbove(row);
    this.grid.reveal(row);
  }

  /** @param {1 | -1} way @param {boolean} [grab] the focus goes along */
  step(way, grab = false) {
    this.search.flush();
    if (!this.found.length) return;
    const at = nextFound(this.found, this.grid.current >= 0 ? this.grid.current : this.grid.focus, way);
    this.show(at, true);
    const row = this.found[at];
    if (grab) this.grid.setFocus(row, true);
    this.say(`${at + 1} of ${this.found.length}: ${nameOf(pathOf(this.grid.tree, row))}`);
  }

  /** Keys in the search box. @param {string} name */
  searchKey(name) {
    if (name === "Enter" || name === "F3") this.step(1);
    else if (name === "Shift+Enter" || name === "Shift+F3") this.step(-1);
    else if (name === "ArrowDown") {
      this.search.flush(); // or the row would be the one of what was typed before
      this.leave(this.grid.current);
    } else if (name === "Escape" && this.search.text) this.search.clear();
    else if (name === "Escape") this.leave(-1);
    else return false;
    return true;
  }

  /** Into the tree. @param {number} row */
  leave(row) {
    this.grid.setFocus(row >= 0 ? row : this.grid.focus, true);
  }

  // ---- filter

  filtered() {
    const { filter } = this.filter;
    const on = isFiltering(filter);
    const { grid } = this;
    const left = on ? filterRows(grid.tree, grid.state, filter, this.found) : null;
    grid.setFilter(left);
    this.filter.say(left?.count ?? 0);
    this.openers.filter.classList.toggle("fz-on", on);
  }

  // ---- selector

  /** @param {string} text @param {string} what */
  preview(text, what) {
    if (!text) {
      this.talk.forget("preview");
      this.grid.setPreview(null);
      return;
    }
    this.talk.ask("preview", { selector: text, action: what }, (answer, buffers) => {
      this.selector.show(answer);
      if (answer.error || answer.version !== this.grid.tree.version) {
        this.grid.setPreview(null);
        return;
      }
      const marks = new Uint8Array(this.grid.tree.n);
      const changes = new Uint8Array(this.grid.tree.n);
      for (const i of int32(buffers[0])) marks[i] = 1;
      for (const i of int32(buffers[1])) marks[i] = 2 * (changes[i] = 1);
      this.grid.setPreview({ marks, before: marksBefore(changes) });
    });
  }

  // ---- panels

  /** @param {"filter" | "selector"} name */
  toggle(name) {
    const panel = this[name];
    const open = panel.element.hidden;
    panel.element.hidden = !open;
    setAttribute(this.openers[name], "aria-expanded", String(open));
    if (name === "selector" && open) this.selector.ask();
    if (name === "selector" && !open) this.preview("", "");
    if (open) panel.focus();
  }

  /** Escape in a panel closes it. @param {Element} target */
  escape(target) {
    for (const name of /** @type {const} */ (["filter", "selector"])) {
      if (!this[name].element.contains(target)) continue;
      this.toggle(name);
      this.leave(-1);
      return true;
    }
    return false;
  }
}
