// @ts-check
/** The tree with all that belongs to it: tools, search, filter, selector, selection, details, sums, note.
 * @typedef {import("./talk.js").Talk} Talk
 * @typedef {import("./wire.js").Info} Info
 */
import { AT_ROW, REPEATED, action, actionOf } from "./actions.js";
import { DEFAULT_COLUMNS, inOrder } from "./columns.js";
import { DetailsPane } from "./details.js";
import { showKeys } from "./dialogs.js";
import { button, make, menuButton, setAttribute, setText } from "./dom.js";
import { Finding } from "./finding.js";
import { counted, formatCount, formatShare, nameOf } from "./format.js";
import { TreeGrid } from "./grid.js";
import { Menu } from "./menu.js";
import { columnItems, moreItems, presetItems, rowItems } from "./menus.js";
import { countOf, topmost } from "./selection.js";
import { storeColumns, storedColumns } from "./storage.js";
import { copyPath, showCode } from "./taking.js";
import { Toolbar } from "./toolbar.js";
import { buildTree, pathOf } from "./tree.js";
import { BIT_HELD, BIT_LOCKED, float32, uint8 } from "./wire.js";

const MOST_WAITING = 500; // rows that are shown as pending; beyond, nobody sees them
const TRENDS_EVERY_MS = 1000;
const SELECTED_AFTER_MS = 150;

export class ModelPanel {
  /** @param {HTMLElement} root @param {Talk} talk */
  constructor(root, talk) {
    this.root = root;
    this.talk = talk;
    this.dead = false;
    /** @type {Info} */ this.info = {};
    this.selectedSeen = 0;
    /** The selection that the kernel knows. @type {Uint8Array} */ this.told = new Uint8Array(0);
    this.trendsAsked = -Infinity;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.telling = undefined;

    this.menu = new Menu(root);
    this.tools = new Toolbar();
    this.grid = new TreeGrid({
      toggle: (id) => this.toggle(id),
      details: (id) => this.showDetails(id, true),
      focused: (id) => this.showDetails(id, false),
      selected: () => this.selectionChanged(),
      folded: (open, rows) =>
        this.talk.send("fold", { open, paths: rows.map((i) => pathOf(this.grid.tree, i)) }),
      menu: (id, x, y) => this.rowMenu(x, y),
    });
    this.finding = new Finding(this.grid, talk, (text) => this.say(text));
    this.details = new DetailsPane((path, answered) => this.talk.ask("details", { path }, answered));

    this.element = make("section", "fz-model", undefined, { "aria-label": "Model" });
    this.picked = make("div", "fz-picked", undefined, { role: "group", "aria-label": "Selection" });
    this.pickedText = make("span", "fz-picked-text", "");
    this.picked.append(
      this.pickedText,
      ...["freeze", "unfreeze"].map((id) => button(id, action(id).label)),
      menuButton("row_menu", "More"),
      button("deselect", "Clear"),
    );
    const foot = make("div", "fz-foot");
    this.share = make("span", "fz-share", undefined, { "aria-hidden": "true" });
    this.share.append(make("span", ""));
    this.counts = make("span", "fz-counts");
    foot.append(this.share, this.counts);
    this.note = make("div", "fz-note", undefined, { role: "status" });
    this.spoken = make("div", "fz-unseen", "", { "aria-live": "polite" });
    const tree = make("div", "fz-tree-box");
    tree.append(this.grid.element);
    this.element.append(
      this.tools.element,
      this.finding.line,
      this.finding.filter.element,
      this.finding.selector.element,
      tree,
      this.picked,
      foot,
      this.note,
      this.details.element,
      this.spoken,
    );
    this.grid.setColumns(storedColumns());
    this.selectionChanged();
  }

  dispose() {
    clearTimeout(this.telling);
    this.menu.close(false);
    this.grid.dispose();
    this.finding.dispose();
    this.details.dispose();
  }

  // ---- from the kernel

  /** @param {import("./wire.js").Columns} columns */
  setTree(columns) {
    if (columns.version === this.grid.tree.version) return;
    this.talk.forgetRows();
    this.grid.setTree(buildTree(columns));
    this.finding.restart();
    this.selectionChanged();
  }

  /** @param {Uint8Array} state */
  setState(state) {
    if (!this.grid.setState(state)) return;
    const { trainable, frozen } = this.grid.totals();
    const all = trainable + frozen;
    const share = all ? frozen / all : 0;
    /** @type {HTMLElement} */ (this.share.firstElementChild).style.width = `${100 * share}%`;
    const sums = `${formatCount(trainable)} trainable · ${formatCount(frozen)} frozen`;
    setText(this.counts, all ? `${sums} (${formatShare(share)})` : sums);
    this.finding.stateChanged();
    this.usable();
  }

  /** @param {any} measures @param {any} roles */
  setMeasures(measures, roles) {
    this.grid.setMeasures(float32(measures), uint8(roles ?? []));
    this.askTrends();
  }

  /** @param {Info} info */
  setInfo(info) {
    this.info = info;
    const { selected, columns } = info;
    if (selected && selected.n > this.selectedSeen) {
      this.selectedSeen = selected.n;
      if (selected.view !== this.talk.id) this.grid.select(selected.rows);
      // Code that selects a row, as by next_found(), means to show it; what is above it was unfolded there.
      if (!selected.view && selected.rows.length === 1) this.grid.reveal(selected.rows[0]);
    }
    if (columns && !this.talk.waitsFor("columns") && String(columns) !== String(this.grid.columns)) {
      this.grid.setColumns(columns);
      this.askTrends();
    }
    this.usable();
  }

  /** @param {Uint8Array} folds */
  setFolds(folds) {
    if (!this.talk.waitsFor("fold")) this.grid.setFolds(folds);
  }

  /** Columns that this browser kept are those of all views, if nobody has chosen others. */
  tellColumns() {
    const { columns } = this.grid;
    if (this.info.columns === null && String(columns) !== String(inOrder(DEFAULT_COLUMNS)))
      this.talk.send("columns", { columns });
  }

  /** @param {boolean} dead */
  setDead(dead) {
    this.dead = dead;
    for (const id of [...this.grid.waiting.keys()]) this.grid.answered(id);
    setAttribute(this.grid.element, "aria-disabled", dead ? "true" : null);
    this.finding.selector.setUsable(!dead);
    this.usable();
  }

  usable() {
    this.tools.setUsable(this.info, this.grid.totals(), this.dead);
    for (const other of this.picked.querySelectorAll("button")) {
      const id = other.getAttribute("data-action") ?? "";
      other.disabled = this.dead && id !== "deselect";
    }
  }

  // ---- what is said

  /** @param {string} text @param {string} level */
  setNote(text, level) {
    setAttribute(this.note, "data-level", level);
    setText(this.note, text);
  }

  /** For those who hear the page. @param {string} text */
  say(text) {
    setText(this.spoken, text);
  }

  // ---- selection

  selectionChanged() {
    const { selection, tree } = this.grid;
    this.picked.hidden = selection.count === 0;
    const rows = selection.rows();
    if (rows.length) {
      const text = `${counted(rows.length, "row")} selected · ${counted(countOf(tree, rows), "parameter")}`;
      setText(this.pickedText, text);
      this.say(text);
    }
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.tellSelection(), SELECTED_AFTER_MS);
  }

  tellSelection() {
    const { selection } = this.grid;
    const known =
      this.told.length === selection.marks.length ? this.told : new Uint8Array(selection.marks.length);
    if (selection.marks.every((mark, i) => mark === known[i])) return;
    this.told = selection.marks.slice();
    const paths = this.grid.paths();
    this.talk.send("select", { paths: selection.rows().map((i) => paths[i]) });
  }

  /** The rows that an action is about: the selected ones, else the focused one; none below another. */
  targets() {
    const { selection, tree, focus } = this.grid;
    if (!tree.n) return [];
    return topmost(tree, selection.count ? selection.rows() : [focus]);
  }

  // ---- doing

  /** @param {number} id */
  toggle(id) {
    if (this.dead) return;
    const { tree, state, selection } = this.grid;
    if (selection.count > 1 && selection.has(id)) {
      this.change("toggle_many");
      return;
    }
    if ((state[id] & 3) === 3) {
      const kind = tree.kind(id);
      this.setNote(
        `${pathOf(tree, id) || "The model"}${kind ? ` (${kind})` : ""} has no parameters: nothing to freeze.`,
        "info",
      );
      return;
    }
    this.grid.wait(id);
    this.talk.click(id, pathOf(tree, id));
  }

  /** Have the kernel do something to the targets. @param {string} what */
  change(what) {
    const rows = this.targets();
    if (this.dead || !rows.length) return;
    const paths = rows.map((i) => pathOf(this.grid.tree, i));
    const waiting = rows.length <= MOST_WAITING ? rows : [];
    for (const i of waiting) this.grid.wait(i);
    this.talk.sendClicks();
    this.talk.post("do", { action: what, paths }, waiting);
  }

  /** @param {string} name */
  preset(name) {
    if (this.dead) return;
    const here = pathOf(this.grid.tree, this.grid.focus);
    if (AT_ROW.includes(name) && !here) {
      this.setNote("Choose a row below the model first: up to it, or after it, is frozen.", "info");
      return;
    }
    const at = AT_ROW.includes(name) ? { at: here } : {};
    this.talk.send("do", { action: "preset", name, ...at });
  }

  /** Whether all targets have a bit. @param {number} bit */
  allHave(bit) {
    const rows = this.targets();
    return rows.length > 0 && rows.every((i) => (this.grid.state[i] & bit) !== 0);
  }

  /** Carry out an action; false if it is none of the tree's. @param {string} id @param {HTMLElement | null} [at] button */
  act(id, at = null) {
    const { grid } = this;
    if (id === "expand" || id === "collapse") grid.setAllOpen(id === "expand");
    else if (id === "freeze" || id === "unfreeze") this.change(id);
    else if (id === "toggle") this.toggle(grid.focus);
    else if (id === "hold") this.change(this.allHave(BIT_HELD) ? "release" : "hold");
    else if (id === "lock") this.change(this.allHave(BIT_LOCKED) ? "unlock" : "lock");
    else if (AT_ROW.includes(id)) this.preset(id);
    else if (["freeze_all", "unfreeze_all", "undo", "redo"].includes(id)) this.talk.send(id);
    else if (id === "presets") this.menu.openAt(at ?? this.tools.presets, presetItems(this), at);
    else if (id === "columns") this.menu.openAt(at ?? this.tools.columns, columnItems(this), at);
    else if (id === "more") this.menu.openAt(this.tools.more, moreItems(this), at);
    else if (id === "row_menu" && at) this.menu.openAt(at, rowItems(this), at);
    else if (id === "menu") this.menuAtFocus();
    else if (id === "search") this.finding.search.focus();
    else if (id === "next" || id === "previous") this.finding.step(id === "next" ? 1 : -1, at === null);
    else if (id === "filter" || id === "selector") this.finding.toggle(id);
    else if (id === "select") grid.flipFocused();
    else if (id === "select_down" || id === "select_up") grid.extend(id === "select_down" ? 1 : -1);
    else if (id === "select_all") grid.selectAll();
    else if (id === "select_kind") this.selectKind();
    else if (id === "deselect") {
      grid.deselect();
      this.finding.leave(-1);
    } else if (id === "details") this.toggleDetails();
    else if (id === "tied") this.goToTied();
    else if (id === "code" || id === "policy") showCode(this, id);
    else if (id === "path") copyPath(this);
    else if (id === "keys") showKeys(this.root);
    else return false;
    return true;
  }

  goToTied() {
    const tied = this.grid.tiedTo(this.grid.focus);
    if (tied) this.grid.goTo(tied.row);
    else this.setNote("This row shares its array with no other.", "info");
  }

  // ---- menus

  selectKind() {
    const { tree, focus } = this.grid;
    const rows = [];
    for (let i = 0; i < tree.n; i++) if (tree.kindOf[i] === tree.kindOf[focus]) rows.push(i);
    this.grid.select(rows);
  }

  /** @param {number} x @param {number} y */
  rowMenu(x, y) {
    const row = this.grid.drawn.get(this.grid.focus) ?? null;
    this.menu.open(row, rowItems(this), x, y, nameOf(pathOf(this.grid.tree, this.grid.focus)));
  }

  menuAtFocus() {
    this.grid.reveal(this.grid.focus);
    const place = this.grid.drawn.get(this.grid.focus)?.getBoundingClientRect();
    if (place) this.rowMenu(place.left + 40, place.bottom);
  }

  // ---- columns, trends, details

  /** @param {string} key */
  flipColumn(key) {
    const { columns } = this.grid;
    this.grid.setColumns(
      columns.includes(key) ? columns.filter((other) => other !== key) : [...columns, key],
    );
    storeColumns(this.grid.columns);
    this.talk.send("columns", { columns: this.grid.columns });
    this.askTrends();
  }

  askTrends() {
    const { grid } = this;
    if (this.dead || !grid.columns.includes("trend") || !grid.measures.length) return;
    if (performance.now() - this.trendsAsked < TRENDS_EVERY_MS) return;
    this.trendsAsked = performance.now();
    const version = grid.tree.version;
    this.talk.ask("trends", { rows: [...grid.drawn.keys()], version }, (answer, buffers) => {
      if (!answer.error && answer.version === grid.tree.version)
        grid.setTrends(answer.rows, float32(buffers[0]));
    });
  }

  /** @param {number} id @param {boolean} open */
  showDetails(id, open) {
    if (open && !this.details.isOpen) this.toggleDetails();
    else if (this.details.isOpen) this.details.show(pathOf(this.grid.tree, id), open);
  }

  toggleDetails() {
    const open = !this.details.isOpen;
    this.details.element.hidden = !open;
    if (open) this.details.show(pathOf(this.grid.tree, this.grid.focus), true);
    else {
      this.talk.forget("details");
      this.finding.leave(-1);
    }
  }

  // ---- keys

  /** Whether a key in some part of the panel was for it. @param {KeyboardEvent} event @param {Element} target
   * @param {string} name */
  key(event, target, name) {
    if (this.grid.body.contains(target)) return this.treeKey(event, name);
    if (target === this.finding.search.input) return this.finding.searchKey(name);
    if (name === "Escape") return this.escape(target);
    if (target === this.finding.selector.input && name === "Enter") {
      this.finding.selector.enter();
      return true;
    }
    if (this.tools.element.contains(target)) return this.tools.key(event);
    return false;
  }

  /** @param {KeyboardEvent} event @param {string} name */
  treeKey(event, name) {
    const id = actionOf(name)?.id ?? null;
    if (id === "deselect") return this.grid.deselect();
    if (id === "toggle" || id === null) {
      const end = event.key === "Home" || event.key === "End"; // with Ctrl as without
      return (end || (!event.ctrlKey && !event.metaKey)) && !event.altKey && this.grid.key(event);
    }
    if (event.repeat && !REPEATED.includes(id)) return true;
    return this.act(id);
  }

  /** Out of a panel, back to the tree. @param {Element} target */
  escape(target) {
    if (this.finding.escape(target)) return true;
    if (!this.details.element.contains(target)) return false;
    this.toggleDetails();
    return true;
  }
}
