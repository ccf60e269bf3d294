// @ts-check
/** One row of the tree as elements: made once, painted again when what it shows changes.
 * @typedef {import("./rowlist.js").RowList} RowList
 */
import { COLUMNS, formatMeasured, measureOf, partOf, roleOf, trendPath } from "./columns.js";
import { make, makeSvg, setAttribute, setText } from "./dom.js";
import { splitAt } from "./find.js";
import { formatBytes, formatCount } from "./format.js";
import { hasChildren, pathOf } from "./tree.js";
import { BIT_HELD, BIT_LOCKED, BIT_PENDING, FLAG_BUFFERS, FLAG_PARAMETER, STATES } from "./wire.js";

const PENDING_SHOWN_AFTER_MS = 150; // most clicks are applied sooner: no flicker
const CHECKED = ["false", "true", "mixed", "false"];
const DEEPEST = 12; // levels that are indented
const MEASURED = ["gradient", "update", "time", "saved"];
export const TREND_WIDTH = 64;
export const TREND_HEIGHT = 16;

/** When a click that waits has to be shown as such. */
export const PENDING_MS = PENDING_SHOWN_AFTER_MS + 10;

/** @param {RowList} grid @param {number} i */
export function makeRow(grid, i) {
  const { tree } = grid;
  const row = make("div", "fz-row", undefined, {
    role: "row",
    "data-id": String(i),
    "data-path": pathOf(tree, i),
    "aria-level": String(tree.level[i] + 1),
    "aria-posinset": String(tree.position[i]),
    "aria-setsize": String(tree.siblings[i]),
    tabindex: i === grid.focus ? "0" : "-1",
  });
  row.style.setProperty("--fz-level", String(Math.min(tree.level[i], DEEPEST)));
  if (tree.flags[i] & FLAG_PARAMETER) row.classList.add("fz-parameter");
  row.append(nameCell(grid, i));
  for (const column of COLUMNS) {
    if (!grid.columns.includes(column.key)) continue;
    const cell = make("span", `fz-${column.key}`, undefined, { role: "gridcell" });
    if (column.number) cell.classList.add("fz-num");
    if (!grid.layoutOf.shown.includes(column.key)) cell.classList.add("fz-unseen");
    fillCell(grid, i, column.key, cell);
    row.append(cell);
  }
  paintRow(grid, i, row);
  return row;
}

/** @param {RowList} grid @param {number} i */
function nameCell(grid, i) {
  const { tree } = grid;
  const name = make("span", "fz-name", undefined, { role: "gridcell" });
  const twisty = make("span", "fz-twisty", undefined, { "aria-hidden": "true" });
  if (!hasChildren(tree, i)) twisty.classList.add("fz-leaf");
  // bdi: a right-to-left name keeps its order without turning the row around.
  name.append(twisty, make("bdi", "fz-label"));
  const tied = grid.tiedTo(i);
  if (tied) {
    const badge = make("span", "fz-badge fz-tied", tied.word, {
      title: tied.title,
      "data-row": String(tied.row),
    });
    name.append(badge);
  }
  if (tree.flags[i] & FLAG_BUFFERS)
    name.append(
      make("span", "fz-badge", "buf", {
        title: "Has buffers (running statistics): freezing does not stop them, hold does",
        role: "img", // read out as words
        "aria-label": "has buffers",
      }),
    );
  const info = make("span", "fz-more", undefined, { "aria-hidden": "true", title: "Details (Shift+D)" });
  name.append(info);
  const aliases = tree.aliases[String(i)];
  name.title = [
    pathOf(tree, i) || tree.labels[i],
    [tree.kind(i), tree.detail(i)].filter(Boolean).join(" "),
    aliases && `also ${aliases.join(", ")}`,
  ]
    .filter(Boolean)
    .join("\n");
  return name;
}

/** What of a cell stays as it is. @param {RowList} grid @param {number} i @param {string} key @param {HTMLElement} cell */
function fillCell(grid, i, key, cell) {
  const { tree } = grid;
  if (key === "type") {
    cell.classList.add("fz-kind");
    cell.append(make("span", "fz-type-name", tree.kind(i)));
    if (!grid.columns.includes("shape")) cell.append(make("span", "fz-detail", tree.detail(i)));
  } else if (key === "shape") {
    cell.append(make("span", "fz-detail", tree.detail(i)));
    cell.title = tree.detail(i);
  } else if (key === "count" && tree.counts[i]) {
    cell.textContent = formatCount(tree.counts[i]);
    cell.title = `${tree.counts[i].toLocaleString("en-US")} parameters`;
  } else if (key === "bytes" && tree.bytes[i]) {
    cell.textContent = formatBytes(tree.bytes[i]);
    cell.title = `${tree.bytes[i].toLocaleString("en-US")} bytes`;
  } else if (key === "trend") {
    const box = {
      class: "fz-trend-line",
      width: String(TREND_WIDTH),
      height: String(TREND_HEIGHT),
      "aria-hidden": "true",
    };
    const svg = makeSvg("svg", { ...box, viewBox: `-1 -1 ${TREND_WIDTH + 2} ${TREND_HEIGHT + 2}` });
    svg.append(makeSvg("path", { fill: "none", "stroke-width": "1.25" }));
    cell.append(svg);
  } else if (key === "state") {
    const chip = make("span", "fz-chip", undefined, { role: "checkbox", tabindex: "-1" });
    chip.append(make("span", "fz-icon", undefined, { "aria-hidden": "true" }), make("span", "fz-word"));
    cell.append(
      chip,
      make("span", "fz-lock", undefined, { title: "Locked: actions here leave it as it is" }),
    );
  }
}

/** Everything of a row that may change. @param {RowList} grid @param {number} i @param {HTMLElement} row */
export function paintRow(grid, i, row) {
  setAttribute(row, "aria-selected", grid.selection.has(i) ? "true" : "false");
  paintLabel(grid, i, row);
  paintState(grid, i, row);
  paintPreview(grid, i, row);
  paintMeasures(grid, i, row);
}

/** @param {RowList} grid @param {number} i @param {HTMLElement} row */
function paintLabel(grid, i, row) {
  const label = /** @type {HTMLElement} */ (row.firstElementChild?.children[1]);
  const text = grid.tree.labels[i];
  const found = grid.found.has(i);
  setAttribute(row, "data-found", found ? (i === grid.current ? "current" : "true") : null);
  const parts = found ? splitAt(text, grid.wanted) : null;
  const key = parts ? parts.join("\u0000") : text;
  if (label.dataset.shown === key) return;
  label.dataset.shown = key;
  label.classList.toggle("fz-dim", !text);
  if (parts) label.replaceChildren(parts[0], make("mark", "", parts[1]), parts[2]);
  else label.textContent = text || "(empty name)";
}

/** @param {RowList} grid @param {number} i @param {HTMLElement} row */
function paintState(grid, i, row) {
  const byte = grid.state[i] ?? 0;
  const state = STATES[byte & 3];
  const since = grid.waiting.get(i);
  const pending = since !== undefined || (byte & BIT_PENDING) !== 0;
  const shown = pending && (since === undefined || performance.now() - since >= PENDING_SHOWN_AFTER_MS);
  const held = (byte & BIT_HELD) !== 0;
  const locked = grid.isLocked(i);
  setAttribute(row, "data-state", state);
  setAttribute(row, "data-pending", pending ? "true" : null);
  setAttribute(row, "data-locked", locked ? "true" : null);
  setAttribute(row, "aria-busy", pending ? "true" : null);
  const chip = /** @type {HTMLElement} */ (row.querySelector(".fz-chip"));
  const word = /** @type {HTMLElement} */ (chip.lastElementChild);
  chip.classList.toggle("fz-pending", shown);
  setAttribute(chip, "aria-checked", CHECKED[byte & 3]);
  setAttribute(chip, "aria-disabled", state === "none" ? "true" : null);
  setText(word, held && !shown ? "held" : state === "none" ? "—" : shown ? "pending" : state);
  const parts = [state === "none" ? "no parameters" : held ? "frozen and held" : state];
  if (state === "none" && held) parts.push("held");
  if (locked) parts.push("locked");
  if (pending) parts.push("change pending");
  setAttribute(chip, "aria-label", parts.join(", "));
  let hint = "No parameters: nothing to freeze";
  if (state !== "none") {
    const inside = grid.countBefore[grid.tree.end[i]] - grid.countBefore[i];
    const frozen = (grid.frozenBefore[grid.tree.end[i]] ?? 0) - (grid.frozenBefore[i] ?? 0);
    hint = `${frozen.toLocaleString("en-US")} of ${inside.toLocaleString("en-US")} parameters frozen`;
    if (shown) hint += "\nRequested; takes effect between two steps";
  }
  if (held) hint += `\nHeld: running statistics and dropout stand still${state === "none" ? "" : " too"}`;
  if (byte & BIT_LOCKED) hint += "\nLocked (Shift+L)";
  else if (locked) hint += "\nLocked, as something above it is";
  if (chip.title !== hint) chip.title = hint;
}

/** What a selector in the box would change. @param {RowList} grid @param {number} i @param {HTMLElement} row */
function paintPreview(grid, i, row) {
  const mark = grid.preview?.marks[i] ?? 0;
  const before = grid.preview?.before;
  const below = before ? before[grid.tree.end[i]] - before[i] : 0;
  setAttribute(row, "data-preview", mark === 2 ? "change" : mark === 1 ? "match" : below ? "below" : null);
}

/** @param {RowList} grid @param {number} i @param {HTMLElement} row */
export function paintMeasures(grid, i, row) {
  for (const key of MEASURED) {
    if (!grid.columns.includes(key)) continue;
    const cell = /** @type {HTMLElement} */ (row.querySelector(`.fz-${key}`));
    setText(cell, formatMeasured(key, measureOf(grid.measures, key, i)));
    const part = partOf(grid.measures, key, i);
    cell.style.setProperty("--fz-part", `${(100 * part).toFixed(1)}%`);
  }
  if (grid.columns.includes("backward")) {
    const cell = /** @type {HTMLElement} */ (row.querySelector(".fz-backward"));
    const role = roleOf(grid.roles[i]);
    setText(cell, role?.short ?? "");
    setAttribute(cell, "data-role", role?.role ?? null);
    setAttribute(cell, "data-expected", role?.expected ? "true" : null);
    if (cell.title !== (role?.long ?? "")) cell.title = role?.long ?? "";
  }
  if (grid.columns.includes("trend")) {
    const line = /** @type {Element} */ (row.querySelector(".fz-trend path"));
    setAttribute(line, "d", trendPath(grid.trends.get(i) ?? [], TREND_WIDTH, TREND_HEIGHT));
  }
}
