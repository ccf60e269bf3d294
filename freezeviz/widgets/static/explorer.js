// @ts-check
/**
 * The notebook face of freezeviz: a tree grid of the model, and a dashboard when a Trainer runs it.
 *
 * Kernel to page, as traits (each is the whole truth of its part, so a view may join at any time):
 *   tree   columns of the structure, sent once; rows are in preorder, parents before children
 *   state  one byte a row: bits 0-1 the state (0 trainable, 1 frozen, 2 mixed, 3 nothing to freeze),
 *          4 held, 8 requested but not yet applied
 *   info   {note: {n, level, text}, undo, redo}
 *   run    null without a trainer, else the numbers of the dashboard
 *   plot   a PNG, plot_alt its description
 * Page to kernel, as custom messages: {type, view, seq, ...}; the kernel answers {type: "ack", view, seq}
 * after it has sent the state that the message led to.
 *
 * Names come from users' models: they reach the page through textContent and attributes, never as HTML.
 *
 * @typedef {{version: number, labels: string[], parents: number[], kinds: string[], kind_of: number[],
 *   details: string[], detail_of: number[], counts: number[], flags: number[],
 *   aliases: Record<string, string>}} Columns
 * @typedef {{n: number, version: number, labels: string[], parent: Int32Array, end: Int32Array,
 *   level: Int32Array, position: Int32Array, siblings: Int32Array, kind: (i: number) => string,
 *   detail: (i: number) => string, counts: Float64Array, flags: Uint8Array,
 *   aliases: Record<string, string>}} Tree
 * @typedef {{status: string, step: number, planned: number, epoch: number, epochs: number, rate: number,
 *   loss: number | null, accuracy: number | null, validation_loss: number | null,
 *   validation_accuracy: number | null, error: string | null, not_finite: string | null}} Run
 * @typedef {{get(name: string): any, send(message: object): void,
 *   on(event: string, callback: (...args: any[]) => void): void,
 *   off(event: string, callback: (...args: any[]) => void): void}} Model
 */

const ROW_HEIGHT = 28; // the same number as --fz-row in explorer.css
const OVERSCAN = 8;
const FEW_ROWS = 24; // the tree opens level by level while it stays this short
const PENDING_SHOWN_AFTER_MS = 150; // most clicks are applied sooner: no flicker
const SILENT_AFTER_MS = 4000;
const TOGETHER_MS = 25; // clicks that come faster than anybody clicks go in one message

const FLAG_PARAMETER = 1;
const FLAG_BUFFERS = 2;
const BIT_HELD = 4;
const BIT_PENDING = 8;
const STATES = ["trainable", "frozen", "mixed", "none"];
const CHECKED = ["false", "true", "mixed", "false"];

// ---------------------------------------------------------------- pure functions, tested on their own

/** The tree behind the columns, with what rows need worked out once. @param {Columns} columns @returns {Tree} */
export function buildTree(columns) {
  const n = columns.labels.length;
  const parent = Int32Array.from(columns.parents);
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
  return {
    n,
    version: columns.version,
    labels: columns.labels,
    parent,
    end,
    level,
    position,
    siblings,
    kind: (i) => columns.kinds[columns.kind_of[i]] ?? "",
    detail: (i) => columns.details[columns.detail_of[i]] ?? "",
    counts: Float64Array.from(columns.counts),
    flags: Uint8Array.from(columns.flags),
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

/** Rows that show, top to bottom, given which are open. @param {Tree} tree @param {Uint8Array} open */
export function visibleRows(tree, open) {
  const rows = [];
  for (let i = 0; i < tree.n; i = open[i] ? i + 1 : tree.end[i]) rows.push(i);
  return rows;
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

/** First and last (exclusive) index to draw. @param {number} top @param {number} height @param {number} count */
export function windowOf(top, height, count, rowHeight = ROW_HEIGHT, overscan = OVERSCAN) {
  const first = Math.max(0, Math.floor(top / rowHeight) - overscan);
  const last = Math.min(count, Math.ceil((top + height) / rowHeight) + overscan);
  return [Math.min(first, count), Math.max(last, 0)];
}

/** Numbers of parameters that train and that are frozen. @param {Tree} tree @param {Uint8Array} state */
export function totals(tree, state) {
  let trainable = 0;
  let frozen = 0;
  for (let i = 0; i < tree.n; i++) {
    if (!(tree.flags[i] & FLAG_PARAMETER)) continue;
    if ((state[i] & 3) === 1) frozen += tree.counts[i];
    else trainable += tree.counts[i];
  }
  return { trainable, frozen };
}

/** Where a key leads: {focus}, {open}, {close}, {toggle} or null.
 * @param {string} key @param {Tree} tree @param {Uint8Array} open @param {number[]} rows @param {number} focus
 * @param {number} page @returns {{focus?: number, open?: number, close?: number, toggle?: number} | null} */
export function keyAction(key, tree, open, rows, focus, page) {
  const at = rows.indexOf(focus);
  const clamp = (/** @type {number} */ k) => ({ focus: rows[Math.max(0, Math.min(rows.length - 1, k))] });
  switch (key) {
    case "ArrowDown":
      return clamp(at + 1);
    case "ArrowUp":
      return clamp(at - 1);
    case "PageDown":
      return clamp(at + page);
    case "PageUp":
      return clamp(at - page);
    case "Home":
      return clamp(0);
    case "End":
      return clamp(rows.length - 1);
    case "ArrowRight":
      if (!hasChildren(tree, focus)) return { focus };
      return open[focus] ? { focus: focus + 1 } : { open: focus };
    case "ArrowLeft":
      if (open[focus] && hasChildren(tree, focus)) return { close: focus };
      return { focus: tree.parent[focus] >= 0 ? tree.parent[focus] : focus };
    case "Enter":
    case " ":
      return { toggle: focus };
    default:
      return null;
  }
}

/** The next row whose label starts with a letter, after the focused one. @param {Tree} tree @param {number[]} rows
 * @param {number} focus @param {string} letter */
export function nextStartingWith(tree, rows, focus, letter) {
  const at = rows.indexOf(focus);
  for (let k = 1; k <= rows.length; k++) {
    const i = rows[(at + k) % rows.length];
    if (tree.labels[i].toLowerCase().startsWith(letter.toLowerCase())) return i;
  }
  return focus;
}

/** 8320 -> "8,320"; 25600000 -> "25.6 M". @param {number} n */
export function formatCount(n) {
  if (n < 1e6) return n.toLocaleString("en-US");
  const [unit, by] = n < 1e9 ? ["M", 1e6] : ["B", 1e9];
  return `${(n / by).toPrecision(3)} ${unit}`;
}

/** A loss with four significant digits, or a dash. @param {number | null} value */
export function formatLoss(value) {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return "not finite";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : value.toPrecision(4);
}

/** 0.9612 -> "96.1 %", with a space that does not break. @param {number | null} value */
export function formatShare(value) {
  return value === null || value === undefined || !Number.isFinite(value)
    ? "–"
    : `${(100 * value).toFixed(1)}\u00a0%`;
}

/** Steps a second. @param {number} rate */
export function formatRate(rate) {
  if (!(rate > 0)) return "";
  return `${rate >= 10 ? Math.round(rate).toLocaleString("en-US") : rate.toFixed(1)} steps/s`;
}

/** The line under the progress bar. @param {Run} run */
export function progressText(run) {
  const parts = [];
  if (run.planned > 0)
    parts.push(`step ${run.step.toLocaleString("en-US")} of ${run.planned.toLocaleString("en-US")}`);
  else if (run.step > 0) parts.push(`step ${run.step.toLocaleString("en-US")}`);
  if (run.epochs > 0)
    parts.push(`epoch ${formatCount(Math.min(run.epoch + 1, run.epochs))} of ${formatCount(run.epochs)}`);
  if (run.status === "running" && run.rate > 0) parts.push(formatRate(run.rate));
  return parts.join(" · ") || "not started";
}

/** Which buttons work in a status. @param {string | null} status */
export function enabledActions(status) {
  const active = status === "running" || status === "paused";
  return { start: !active, pause: active, stop: active };
}

// ---------------------------------------------------------------- small DOM tools

/** An element with a class, attributes and text. @param {string} tag @param {string} [cls] @param {string} [text]
 * @param {Record<string, string>} [attributes] */
function make(tag, cls, text, attributes) {
  const element = document.createElement(tag);
  if (cls) element.className = cls;
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  return element;
}

/** Set text only when it differs: an unchanged node costs no layout and is not announced again.
 * @param {Element} element @param {string} text */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Element} element @param {string} name @param {string | null} value */
function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A button that sends an action. @param {string} action @param {string} label @param {string} [title] */
function button(action, label, title) {
  const element = /** @type {HTMLButtonElement} */ (
    make("button", "fz-button", label, { type: "button", "data-action": action })
  );
  if (title) element.title = title;
  return element;
}

// ---------------------------------------------------------------- the tree grid

class TreeGrid {
  /** @param {(id: number) => void} onToggle */
  constructor(onToggle) {
    this.onToggle = onToggle;
    /** @type {Tree} */ this.tree = buildTree({
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
    });
    /** @type {Uint8Array} */ this.state = new Uint8Array(0);
    this.open = new Uint8Array(0);
    /** @type {number[]} */ this.rows = [];
    this.focus = 0;
    /** @type {Map<number, HTMLElement>} */ this.drawn = new Map();
    /** Clicks of this view that the kernel has not answered: row -> time. @type {Map<number, number>} */ this.waiting =
      new Map();
    this.frozenBefore = new Float64Array(1);
    this.countBefore = new Float64Array(1);

    this.element = make("div", "fz-tree", undefined, {
      role: "treegrid",
      "aria-label": "Model",
      "aria-colcount": "4",
    });
    const head = make("div", "fz-head", undefined, { role: "row", "aria-rowindex": "1" });
    for (const [cls, title] of [
      ["fz-name", "Name"],
      ["fz-kind", "Type"],
      ["fz-count", "Params"],
      ["fz-state", "State"],
    ])
      head.append(make("span", cls, title, { role: "columnheader" }));
    this.body = make("div", "fz-body", undefined, { role: "rowgroup" });
    this.empty = make("div", "fz-empty", "This model has no layers.");
    this.element.append(head, this.body, this.empty);

    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("focusin", (event) => {
      const row = /** @type {Element} */ (event.target).closest(".fz-row");
      if (row) this.setFocus(Number(row.getAttribute("data-id")), false);
    });
    // A resized or newly shown grid has room for other rows.
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
  }

  dispose() {
    this.observer.disconnect();
  }

  /** @param {Tree} tree */
  setTree(tree) {
    const old = this.tree;
    const openPaths = new Set();
    for (let i = 0; i < old.n; i++) if (this.open[i]) openPaths.add(pathOf(old, i));
    const focusPath = old.n ? pathOf(old, this.focus) : "";
    this.tree = tree;
    this.open = initiallyOpen(tree, FEW_ROWS);
    this.focus = 0;
    if (old.n) {
      for (let i = 0; i < tree.n; i++) {
        const path = pathOf(tree, i);
        if (hasChildren(tree, i)) this.open[i] = openPaths.has(path) ? 1 : this.open[i];
        if (path === focusPath) this.focus = i;
      }
    }
    this.state = new Uint8Array(tree.n);
    this.waiting.clear();
    for (const row of this.drawn.values()) row.remove();
    this.drawn.clear();
    // aria-setsize and level of a row never change while the tree stands: rows are made once.
    this.countBefore = new Float64Array(tree.n + 1);
    for (let i = 0; i < tree.n; i++)
      this.countBefore[i + 1] = this.countBefore[i] + (tree.flags[i] & FLAG_PARAMETER ? tree.counts[i] : 0);
    const bare = tree.n <= 1;
    this.empty.hidden = !bare;
    if (tree.n === 1 && bare) setText(this.empty, "This model has no layers and no parameters.");
    this.layout();
  }

  /** @param {Uint8Array} state */
  setState(state) {
    if (state.length !== this.tree.n) return; // belongs to a structure that is on its way
    this.state = state;
    this.frozenBefore = new Float64Array(this.tree.n + 1);
    for (let i = 0; i < this.tree.n; i++) {
      const frozen = this.tree.flags[i] & FLAG_PARAMETER && (state[i] & 3) === 1;
      this.frozenBefore[i + 1] = this.frozenBefore[i] + (frozen ? this.tree.counts[i] : 0);
    }
    for (const [i, row] of this.drawn) this.paint(i, row);
  }

  /** @param {number} id */
  wait(id) {
    this.waiting.set(id, performance.now());
    this.repaint(id);
    setTimeout(() => this.repaint(id), PENDING_SHOWN_AFTER_MS + 10);
  }

  /** @param {number} id */
  answered(id) {
    this.waiting.delete(id);
    this.repaint(id);
  }

  /** @param {number} id */
  repaint(id) {
    const row = this.drawn.get(id);
    if (row) this.paint(id, row);
  }

  layout() {
    this.rows = visibleRows(this.tree, this.open);
    if (this.rows.indexOf(this.focus) < 0) this.focus = this.rows[0] ?? 0;
    this.body.style.height = `${this.rows.length * ROW_HEIGHT}px`;
    setAttribute(this.element, "aria-rowcount", String(this.rows.length + 1));
    this.draw();
  }

  /** Only rows in sight are in the document, and the focused one: removing it would lose the focus. */
  draw() {
    // Not attached yet: enough rows for the greatest height that the style sheet allows.
    const height = this.element.clientHeight || 560;
    const [first, last] = windowOf(this.element.scrollTop, height, this.rows.length);
    /** @type {Map<number, number>} */ const wanted = new Map();
    const focusAt = this.rows.indexOf(this.focus);
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
        row = this.makeRow(i);
        this.drawn.set(i, row);
        this.body.insertBefore(row, next);
      } else {
        next = row.nextElementSibling;
      }
      const top = `${k * ROW_HEIGHT}px`;
      if (row.style.top !== top) row.style.top = top;
      setAttribute(row, "aria-rowindex", String(k + 2));
      if (hasChildren(this.tree, i)) setAttribute(row, "aria-expanded", this.open[i] ? "true" : "false");
    }
  }

  /** @param {number} i */
  makeRow(i) {
    const tree = this.tree;
    const row = make("div", "fz-row", undefined, {
      role: "row",
      "data-id": String(i),
      "data-path": pathOf(tree, i),
      "aria-level": String(tree.level[i] + 1),
      "aria-posinset": String(tree.position[i]),
      "aria-setsize": String(tree.siblings[i]),
      tabindex: i === this.focus ? "0" : "-1",
    });
    row.style.setProperty("--fz-level", String(Math.min(tree.level[i], 12)));
    if (tree.flags[i] & FLAG_PARAMETER) row.classList.add("fz-parameter");
    const name = make("span", "fz-name", undefined, { role: "gridcell" });
    const twisty = make("span", "fz-twisty", undefined, { "aria-hidden": "true" });
    if (!hasChildren(tree, i)) twisty.classList.add("fz-leaf");
    // bdi: a right-to-left name keeps its order without turning the row around.
    const label = make("bdi", "fz-label", tree.labels[i] || "(empty name)");
    if (!tree.labels[i]) label.classList.add("fz-dim");
    name.append(twisty, label);
    const aliases = tree.aliases[String(i)];
    if (aliases) name.append(make("span", "fz-badge", "shared", { title: `Also ${aliases}` }));
    if (tree.flags[i] & FLAG_BUFFERS)
      name.append(
        make("span", "fz-badge", "buffers", {
          title: "Has buffers (running statistics): freezing does not stop them, hold does",
        }),
      );
    const kind = make("span", "fz-kind", undefined, { role: "gridcell" });
    kind.append(make("span", "fz-type", tree.kind(i)), make("span", "fz-detail", tree.detail(i)));
    const count = make("span", "fz-count", tree.counts[i] ? formatCount(tree.counts[i]) : "", {
      role: "gridcell",
    });
    if (tree.counts[i]) count.title = `${tree.counts[i].toLocaleString("en-US")} parameters`;
    const cell = make("span", "fz-state", undefined, { role: "gridcell" });
    const chip = make("span", "fz-chip", undefined, { role: "checkbox", tabindex: "-1" });
    chip.append(make("span", "fz-icon", undefined, { "aria-hidden": "true" }), make("span", "fz-word"));
    cell.append(chip);
    row.append(name, kind, count, cell);
    name.title = [
      pathOf(tree, i) || tree.labels[i],
      [tree.kind(i), tree.detail(i)].filter(Boolean).join(" "),
      aliases && `also ${aliases}`,
    ]
      .filter(Boolean)
      .join("\n");
    this.paint(i, row);
    return row;
  }

  /** @param {number} i @param {HTMLElement} row */
  paint(i, row) {
    const byte = this.state[i] ?? 0;
    const state = STATES[byte & 3];
    const since = this.waiting.get(i);
    const pending = since !== undefined || (byte & BIT_PENDING) !== 0;
    const shown = pending && (since === undefined || performance.now() - since >= PENDING_SHOWN_AFTER_MS);
    setAttribute(row, "data-state", state);
    setAttribute(row, "data-pending", pending ? "true" : null);
    setAttribute(row, "aria-busy", pending ? "true" : null);
    const chip = /** @type {HTMLElement} */ (row.lastElementChild?.firstElementChild);
    const word = /** @type {HTMLElement} */ (chip.lastElementChild);
    chip.classList.toggle("fz-pending", shown);
    setAttribute(chip, "aria-checked", CHECKED[byte & 3]);
    setAttribute(chip, "aria-disabled", state === "none" ? "true" : null);
    const held = (byte & BIT_HELD) !== 0;
    const text = state === "none" ? "—" : shown ? "pending" : held ? "held" : state;
    setText(word, text);
    setAttribute(
      chip,
      "aria-label",
      state === "none"
        ? "no parameters"
        : `${held ? "frozen and held" : state}${pending ? ", change pending" : ""}`,
    );
    let hint = "No parameters: nothing to freeze";
    if (state !== "none") {
      const inside = this.countBefore[this.tree.end[i]] - this.countBefore[i];
      const frozen = (this.frozenBefore[this.tree.end[i]] ?? 0) - (this.frozenBefore[i] ?? 0);
      hint = `${frozen.toLocaleString("en-US")} of ${inside.toLocaleString("en-US")} parameters frozen`;
      if (held) hint += "\nHeld: running statistics and dropout stand still too";
      if (shown) hint += "\nRequested; takes effect between two steps";
    }
    if (chip.title !== hint) chip.title = hint;
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const target = /** @type {Element} */ (event.target);
    const row = target.closest(".fz-row");
    if (!row) return;
    const i = Number(row.getAttribute("data-id"));
    this.setFocus(i, true);
    if (target.closest(".fz-twisty") && hasChildren(this.tree, i)) this.setOpen(i, !this.open[i]);
    else this.onToggle(i);
  }

  /** @param {number} i @param {boolean} grab */
  setFocus(i, grab) {
    const old = this.drawn.get(this.focus);
    if (old && this.focus !== i) old.tabIndex = -1;
    this.focus = i;
    if (grab) this.reveal(i);
    const row = this.drawn.get(i);
    if (!row) return;
    row.tabIndex = 0;
    if (grab && document.activeElement !== row) row.focus({ preventScroll: true });
  }

  /** @param {number} i */
  reveal(i) {
    const top = this.rows.indexOf(i) * ROW_HEIGHT;
    const head = /** @type {HTMLElement} */ (this.element.firstElementChild).offsetHeight;
    const room = this.element.clientHeight - head;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + ROW_HEIGHT > this.element.scrollTop + room)
      this.element.scrollTop = top + ROW_HEIGHT - room;
    this.draw();
  }

  /** @param {number} i @param {boolean} open */
  setOpen(i, open) {
    this.open[i] = open ? 1 : 0;
    const lost = !open && this.focus > i && this.focus < this.tree.end[i];
    if (lost) this.setFocus(i, true);
    this.layout();
  }

  /** @param {boolean} open */
  setAllOpen(open) {
    for (let i = 0; i < this.tree.n; i++) this.open[i] = open && hasChildren(this.tree, i) ? 1 : 0;
    // Collapsed, the top level still shows: a lone root row says little.
    if (!open && this.tree.n && hasChildren(this.tree, 0)) this.open[0] = 1;
    this.layout();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW_HEIGHT) - 2);
    const action = keyAction(event.key, this.tree, this.open, this.rows, this.focus, page);
    if (action === null) {
      if (event.key.length !== 1) return false;
      this.setFocus(nextStartingWith(this.tree, this.rows, this.focus, event.key), true);
      return true;
    }
    if (action.open !== undefined) this.setOpen(action.open, true);
    if (action.close !== undefined) this.setOpen(action.close, false);
    if (action.focus !== undefined) this.setFocus(action.focus, true);
    if (action.toggle !== undefined && !event.repeat) this.onToggle(action.toggle);
    return true;
  }
}

// ---------------------------------------------------------------- the dashboard

class Dashboard {
  constructor() {
    this.element = make("section", "fz-run", undefined, { "aria-label": "Training" });
    const controls = make("div", "fz-controls");
    this.start = button("start", "Start", "Train in the background");
    this.start.classList.add("fz-primary");
    this.epochs = /** @type {HTMLInputElement} */ (
      make("input", "fz-epochs", undefined, {
        type: "number",
        min: "1",
        max: "1000000",
        step: "1",
        value: "10",
      })
    );
    const label = make("label", "fz-field");
    label.append(this.epochs, make("span", "", "epochs"));
    this.pause = button("pause", "Pause", "Stand still after the step in hand");
    this.stop = button("stop", "Stop", "End the run after the step in hand");
    this.status = make("span", "fz-status");
    this.status.append(make("span", "fz-dot", undefined, { "aria-hidden": "true" }), make("span", "", ""));
    controls.append(this.start, label, this.pause, this.stop, this.status);

    const progress = make("div", "fz-progress");
    this.bar = /** @type {HTMLProgressElement} */ (
      make("progress", "", undefined, { "aria-label": "Progress of the run" })
    );
    this.line = make("span", "fz-line");
    progress.append(this.bar, this.line);

    this.metrics = make("dl", "fz-metrics");
    /** @type {Record<string, Element>} */ this.values = {};
    for (const [key, title] of [
      ["loss", "Loss"],
      ["validation_loss", "Val. loss"],
      ["accuracy", "Accuracy"],
      ["validation_accuracy", "Val. accuracy"],
    ]) {
      const group = make("div", "fz-metric");
      const value = make("dd", "", "–", { "data-metric": key });
      if (!key.startsWith("validation")) group.title = "Mean of the last 20 training steps";
      group.append(make("dt", "", title), value);
      this.metrics.append(group);
      this.values[key] = value;
    }

    const figure = make("figure", "fz-plot");
    this.image = /** @type {HTMLImageElement} */ (make("img", "", undefined, { alt: "" }));
    this.image.hidden = true;
    this.hint = make("figcaption", "fz-hint", "The loss appears here once training runs.");
    figure.append(this.image, this.hint);
    this.figure = figure;
    this.element.append(controls, progress, this.metrics, figure);
    this.url = "";
    this.drawing = 0;
  }

  dispose() {
    this.drawing = -1;
    if (this.url) URL.revokeObjectURL(this.url);
  }

  /** @param {Run} run @param {boolean} usable */
  setRun(run, usable) {
    const enabled = enabledActions(run.status);
    this.start.disabled = !usable || !enabled.start;
    this.epochs.disabled = !usable || !enabled.start;
    this.pause.disabled = !usable || !enabled.pause;
    this.stop.disabled = !usable || !enabled.stop;
    const paused = run.status === "paused";
    setText(this.pause, paused ? "Resume" : "Pause");
    setAttribute(this.pause, "data-action", paused ? "resume" : "pause");
    setAttribute(this.status, "data-status", run.status);
    setText(/** @type {Element} */ (this.status.lastElementChild), run.status);
    this.bar.max = Math.max(1, run.planned);
    this.bar.value = Math.min(run.step, this.bar.max);
    const text = progressText(run);
    setText(this.line, text);
    setAttribute(this.bar, "aria-valuetext", text);
    setText(this.values.loss, formatLoss(run.loss));
    setText(this.values.validation_loss, formatLoss(run.validation_loss));
    setText(this.values.accuracy, formatShare(run.accuracy));
    setText(this.values.validation_accuracy, formatShare(run.validation_accuracy));
  }

  /** Decoded before it is shown: the old picture stays until the new one can be painted.
   * @param {Uint8Array} png @param {string} alt */
  async setPlot(png, alt) {
    if (!png.byteLength) return;
    const turn = ++this.drawing;
    const url = URL.createObjectURL(new Blob([/** @type {any} */ (png)], { type: "image/png" }));
    const next = new Image();
    next.src = url;
    try {
      await next.decode();
    } catch {
      URL.revokeObjectURL(url);
      return; // a broken picture: keep the last good one
    }
    if (turn !== this.drawing) {
      URL.revokeObjectURL(url);
      return;
    }
    const old = this.url;
    this.url = url;
    this.image.src = url;
    this.image.alt = alt;
    this.image.hidden = false;
    this.hint.hidden = true;
    if (old) setTimeout(() => URL.revokeObjectURL(old), 1000);
  }
}

// ---------------------------------------------------------------- the whole view

/** Bytes of a Bytes trait, whatever view of them the front end hands out. @param {any} value */
export function bytesOf(value) {
  if (!value) return new Uint8Array(0);
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

class View {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.id = Math.random().toString(36).slice(2);
    this.seq = 0;
    this.dead = false;
    this.width = 0; // of the picture, as the kernel knows it
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.resizing = undefined;
    /** Unanswered messages: seq -> {time, rows}. @type {Map<number, {time: number, rows: number[]}>} */ this.sent =
      new Map();
    /** Clicks that are not sent yet. @type {{id: number, path: string, t: number}[]} */ this.clicks = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.collecting = undefined;
    this.root = make("div", "freezeviz freezeviz-live");
    this.banners = make("div", "fz-banners");
    this.tree = new TreeGrid((id) => this.toggle(id));
    this.hasRun = model.get("run") !== null;
    this.dashboard = this.hasRun ? new Dashboard() : null;

    const section = make("section", "fz-model", undefined, { "aria-label": "Model" });
    const tools = make("div", "fz-tools", undefined, { role: "toolbar", "aria-label": "Model" });
    this.undo = button("undo", "Undo");
    this.redo = button("redo", "Redo");
    this.freeze = button("freeze_all", "Freeze all");
    this.unfreeze = button("unfreeze_all", "Unfreeze all");
    const group = (/** @type {Element[]} */ ...buttons) => {
      const g = make("span", "fz-group");
      g.append(...buttons);
      return g;
    };
    tools.append(
      group(button("expand", "Expand all"), button("collapse", "Collapse all")),
      group(this.undo, this.redo),
      group(this.freeze, this.unfreeze),
    );
    const foot = make("div", "fz-foot");
    this.share = make("span", "fz-share", undefined, { "aria-hidden": "true" });
    this.share.append(make("span", ""));
    this.counts = make("span", "fz-counts");
    foot.append(this.share, this.counts);
    this.note = make("div", "fz-note", undefined, { role: "status" });
    section.append(tools, this.tree.element, foot, this.note);

    const grid = make("div", "fz-columns");
    grid.append(section);
    if (this.dashboard) grid.append(this.dashboard.element);
    this.root.append(this.banners, grid);
    el.append(this.root);

    /** @type {[string, (...args: any[]) => void][]} */
    this.handlers = [
      ["change:tree", () => this.readTree()],
      ["change:state", () => this.readState()],
      ["change:info", () => this.readInfo()],
      ["change:run", () => this.readRun()],
      ["change:plot", () => this.readPlot()],
      ["msg:custom", (message) => this.received(message)],
      ["comm_live_update", () => this.readLiveness()],
      ["destroy", () => this.setDead(true)],
    ];
    for (const [event, handler] of this.handlers) model.on(event, handler);
    this.root.addEventListener("click", (event) => this.clicked(event));
    // On window, in the capture phase: Notebook 7 handles its command-mode keys on document in that phase, so a
    // listener on the tree would come too late, and in Lab a typed letter would become a command.
    this.onKey = (/** @type {KeyboardEvent} */ event) => this.key(event);
    window.addEventListener("keydown", this.onKey, true);
    this.timer = setInterval(() => this.watch(), 1000);

    this.readTree();
    this.readInfo();
    this.readRun();
    this.readPlot();
    // A view of a saved state has no connection from the beginning; the manager marks it.
    if (el.classList.contains("jupyter-widgets-disconnected")) this.setDead(true);
    this.send("hello", this.size());
    if (this.dashboard) {
      // The picture is drawn for the room it has: text in a scaled one is too small or blurred.
      this.observer = new ResizeObserver(() => this.resized());
      this.observer.observe(this.dashboard.figure);
    }
  }

  dispose() {
    if (!this.dead) this.send("bye", {});
    window.removeEventListener("keydown", this.onKey, true);
    clearInterval(this.timer);
    clearTimeout(this.resizing);
    this.observer?.disconnect();
    for (const [event, handler] of this.handlers) this.model.off(event, handler);
    this.tree.dispose();
    this.dashboard?.dispose();
    this.root.remove();
  }

  // ---- from the kernel

  readTree() {
    const columns = this.model.get("tree");
    if (columns.version !== this.tree.tree.version) {
      this.sent.forEach((message) => {
        message.rows = [];
      });
      this.tree.setTree(buildTree(columns));
    }
    this.readState();
  }

  readState() {
    this.tree.setState(bytesOf(this.model.get("state")));
    const { trainable, frozen } = totals(this.tree.tree, this.tree.state);
    const all = trainable + frozen;
    const share = all ? frozen / all : 0;
    /** @type {HTMLElement} */ (this.share.firstElementChild).style.width = `${100 * share}%`;
    setText(
      this.counts,
      `${formatCount(trainable)} trainable · ${formatCount(frozen)} frozen${all ? ` (${formatShare(share)})` : ""}`,
    );
    this.usable();
  }

  readInfo() {
    const info = this.model.get("info");
    this.undo.title = info.undo ? `Undo: ${info.undo}` : "Nothing to undo";
    this.redo.title = info.redo ? `Redo: ${info.redo}` : "Nothing to redo";
    // Next to the tree as well: the banner of a tall widget may be out of sight.
    if (this.dead) this.setNote("The kernel behind this view is gone. Run the cell again.", "error");
    else this.setNote(info.note?.text ?? "", info.note?.level ?? "info");
    this.usable();
  }

  readRun() {
    const run = /** @type {Run | null} */ (this.model.get("run"));
    if (!run || !this.dashboard) return;
    this.dashboard.setRun(run, !this.dead);
    this.banner(
      "error",
      run.error ? "The run failed" : null,
      run.error
        ? `${run.error}\nModel, history and events are kept; trainer.wait() raises the error with its traceback.`
        : "",
    );
    const active = enabledActions(run.status).stop;
    this.banner(
      "nan",
      run.not_finite ? "The loss is not finite" : null,
      run.not_finite ?? "",
      active ? button("stop", "Stop the run") : null,
    );
  }

  readPlot() {
    this.dashboard?.setPlot(bytesOf(this.model.get("plot")), this.model.get("plot_alt"));
  }

  /** @param {any} message */
  received(message) {
    if (message?.type !== "ack" || message.view !== this.id) return;
    this.setDead(false);
    const answered = new Set();
    const waiting = new Set(this.clicks.map((click) => click.id));
    for (const [seq, { rows }] of this.sent) {
      for (const row of rows) (seq > message.seq ? waiting : answered).add(row);
      if (seq <= message.seq) this.sent.delete(seq);
    }
    for (const row of answered) if (!waiting.has(row)) this.tree.answered(row);
    this.watch();
  }

  /** The connection of the model came or went: how a page learns that its kernel was restarted. Which of the two
   * it was, the model does not show to a view; a kernel that answers to a new hello is there. */
  readLiveness() {
    if (!this.dead) this.setDead(true);
    else this.post("hello", this.size());
  }

  /** @param {boolean} dead */
  setDead(dead) {
    if (dead === this.dead) return;
    this.dead = dead;
    this.sent.clear();
    this.clicks = [];
    for (const id of [...this.tree.waiting.keys()]) this.tree.answered(id);
    this.root.classList.toggle("fz-dead", dead);
    setAttribute(this.tree.element, "aria-disabled", dead ? "true" : null);
    this.banner(
      "gone",
      dead ? "The kernel behind this view is gone" : null,
      "What you see is the last state it sent. Run the cell again to connect.",
    );
    this.banner("silent", null, "");
    this.readInfo();
    this.readRun();
  }

  // ---- to the kernel

  /** @param {string} type @param {object} rest */
  send(type, rest) {
    if (this.dead) return;
    this.sendClicks(); // what was done first comes first
    this.post(type, rest);
  }

  /** @param {string} type @param {object} rest @param {number[]} [rows] */
  post(type, rest, rows = []) {
    const seq = ++this.seq;
    this.sent.set(seq, { time: performance.now(), rows });
    try {
      this.model.send({ type, view: this.id, seq, ...rest });
    } catch {
      this.setDead(true); // the connection was closed under us
    }
  }

  /** The first click goes at once; those that follow within moments together: a message costs a busy kernel
   * some milliseconds, however many clicks are in it. */
  sendClicks() {
    clearTimeout(this.collecting);
    this.collecting = undefined;
    if (this.dead || !this.clicks.length) return;
    const clicks = this.clicks.splice(0);
    this.post(
      "toggle",
      { clicks },
      clicks.map((click) => click.id),
    );
    this.collecting = setTimeout(() => this.sendClicks(), TOGETHER_MS);
  }

  /** @param {number} id */
  toggle(id) {
    if (this.dead) return;
    const tree = this.tree.tree;
    if ((this.tree.state[id] & 3) === 3) {
      const kind = tree.kind(id);
      this.setNote(
        `${pathOf(tree, id) || "The model"}${kind ? ` (${kind})` : ""} has no parameters: nothing to freeze.`,
        "info",
      );
      return;
    }
    this.tree.wait(id);
    this.clicks.push({ id, path: pathOf(tree, id), t: performance.timeOrigin + performance.now() });
    if (this.collecting === undefined) this.sendClicks();
  }

  /** @param {string} action */
  act(action) {
    if (action === "expand" || action === "collapse") this.tree.setAllOpen(action === "expand");
    else if (action === "start") this.startRun();
    else this.send(action, {});
  }

  startRun() {
    const field = this.dashboard?.epochs;
    if (!field || this.dashboard?.start.disabled) return;
    const epochs = Number(field.value);
    const good = Number.isInteger(epochs) && epochs >= 1;
    setAttribute(field, "aria-invalid", good ? null : "true");
    if (good) this.send("start", { epochs });
    else this.setNote("Epochs: a whole number from 1 on.", "warning");
  }

  /** Width of the picture in CSS pixels (0: not known yet), and device pixels to one of them. */
  size() {
    const width = Math.round(this.dashboard?.figure.clientWidth ?? 0);
    return { width, ratio: window.devicePixelRatio || 1 };
  }

  resized() {
    const { width } = this.size();
    if (width === 0 || Math.abs(width - this.width) < 12) return;
    clearTimeout(this.resizing);
    this.resizing = setTimeout(() => {
      this.width = width;
      this.send("size", this.size());
    }, 200);
  }

  // ---- the page

  /** @param {MouseEvent} event */
  clicked(event) {
    const target = /** @type {HTMLButtonElement | null} */ (
      /** @type {Element} */ (event.target).closest("button[data-action]")
    );
    if (target && !target.disabled) this.act(target.getAttribute("data-action") ?? "");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = event.composedPath()[0];
    if (
      !(target instanceof Element) ||
      !this.root.contains(target) ||
      event.key === "Tab" ||
      event.key === "Escape"
    )
      return;
    const inTree = this.tree.body.contains(target);
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (!inTree || (key !== "z" && key !== "y")) return;
      event.stopPropagation();
      event.preventDefault();
      this.act(key === "y" || event.shiftKey ? "redo" : "undo");
      return;
    }
    if (event.altKey || (event.key === "Enter" && event.shiftKey)) return; // the notebook's own keys
    event.stopPropagation();
    if (inTree) {
      if (this.tree.key(event)) event.preventDefault();
    } else if (target === this.dashboard?.epochs && event.key === "Enter") {
      event.preventDefault();
      this.startRun();
    }
  }

  /** A message that waits long means a busy kernel, or one that is gone without a word. */
  watch() {
    const oldest = this.sent.values().next().value;
    const silent = !this.dead && oldest !== undefined && performance.now() - oldest.time > SILENT_AFTER_MS;
    this.banner(
      "silent",
      silent ? "No answer from the kernel yet" : null,
      "A running cell keeps it busy: what you clicked is applied when it is free. If the kernel was restarted, run the cell again.",
    );
  }

  usable() {
    const info = this.model.get("info");
    const { trainable, frozen } = totals(this.tree.tree, this.tree.state);
    this.undo.disabled = this.dead || !info.undo;
    this.redo.disabled = this.dead || !info.redo;
    this.freeze.disabled = this.dead || trainable === 0;
    this.unfreeze.disabled = this.dead || frozen === 0;
  }

  /** @param {string} text @param {string} level */
  setNote(text, level) {
    setAttribute(this.note, "data-level", level);
    setText(this.note, text);
  }

  /** Show, change or (title null) remove a banner. @param {string} name @param {string | null} title
   * @param {string} text @param {HTMLElement | null} [action] */
  banner(name, title, text, action = null) {
    let box = this.banners.querySelector(`[data-banner=${name}]`);
    if (title === null) {
      box?.remove();
      return;
    }
    const key = `${title}\n${text}\n${action ? 1 : 0}`;
    if (box?.getAttribute("data-key") === key) return;
    box?.remove();
    box = make("div", "fz-banner", undefined, {
      "data-banner": name,
      "data-key": key,
      role: name === "error" || name === "gone" ? "alert" : "status",
    });
    const words = make("div", "fz-words");
    words.append(make("strong", "", title), make("span", "fz-text", text));
    box.append(words);
    if (action) box.append(action);
    this.banners.append(box);
  }
}

/** @param {{model: Model, el: HTMLElement}} context */
function show({ model, el }) {
  const view = new View(model, el);
  return () => view.dispose();
}

export default { render: show };
