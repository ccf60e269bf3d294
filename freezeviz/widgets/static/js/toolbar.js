// @ts-check
/** The few buttons above the tree; what is used less is in their menus. */
import { button, iconButton, make, menuButton, passFocusOn, setAttribute, tellKeys } from "./dom.js";

export class Toolbar {
  constructor() {
    this.element = make("div", "fz-tools", undefined, { role: "toolbar", "aria-label": "Model" });
    this.undo = iconButton("undo", "Undo", "undo");
    this.redo = iconButton("redo", "Redo", "redo");
    this.freeze = button("freeze_all", "Freeze all");
    this.unfreeze = button("unfreeze_all", "Unfreeze all");
    this.presets = menuButton("presets", "Presets");
    this.columns = menuButton("columns", "Columns");
    this.more = iconButton("more", "More", "more");
    this.more.setAttribute("aria-haspopup", "menu");
    this.more.setAttribute("aria-expanded", "false");
    this.element.append(
      this.group(
        iconButton("expand", "Expand all", "expand"),
        iconButton("collapse", "Collapse all", "collapse"),
      ),
      this.group(this.undo, this.redo),
      this.group(this.freeze, this.unfreeze),
      this.presets,
      this.columns,
      this.more,
    );
    for (const other of this.buttons()) {
      const id = other.getAttribute("data-action") ?? "";
      if (id === "more") continue;
      tellKeys(other, [id]);
    }
  }

  /** @param {HTMLElement[]} buttons */
  group(...buttons) {
    const group = make("span", "fz-group");
    group.append(...buttons);
    return group;
  }

  /** @returns {HTMLButtonElement[]} */
  buttons() {
    return [.../** @type {NodeListOf<HTMLButtonElement>} */ (this.element.querySelectorAll("button"))];
  }

  /** What can be pressed now. @param {{undo?: string | null, redo?: string | null}} info
   * @param {{trainable: number, frozen: number}} totals @param {boolean} dead */
  setUsable(info, totals, dead) {
    this.undo.disabled = dead || !info.undo;
    this.redo.disabled = dead || !info.redo;
    this.freeze.disabled = dead || totals.trainable === 0;
    this.unfreeze.disabled = dead || totals.frozen === 0;
    this.presets.disabled = dead || totals.trainable + totals.frozen === 0;
    passFocusOn(this.element);
    setAttribute(this.undo, "title", info.undo ? `Undo: ${info.undo}` : "Nothing to undo");
    setAttribute(this.redo, "title", info.redo ? `Redo: ${info.redo}` : "Nothing to redo");
  }

  /** Arrows go from button to button, as in any toolbar. @param {KeyboardEvent} event */
  key(event) {
    const buttons = this.buttons().filter((other) => !other.disabled);
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const way = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (way === undefined || at < 0) return false;
    buttons.at(way % buttons.length)?.focus();
    return true;
  }
}
