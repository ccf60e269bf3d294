// @ts-check
/** Undo and redo of what was typed in a field. A browser has one such history for the whole page: where that of a field
 * is used up, Ctrl+Z in it would go on in the cells of the notebook. So our fields have their own. */
import { isTextField } from "./dom.js";

const ONE_GO_MS = 600; // what is typed without a pause is undone together

/** The texts that a field had. */
export class Texts {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    /** @type {string[]} */ this.past = [];
    /** @type {string[]} */ this.future = [];
    this.time = -Infinity;
  }

  /** @param {string} text that the field has now @param {number} time in ms */
  changed(text, time) {
    if (text === this.text) return;
    if (time - this.time > ONE_GO_MS) this.past.push(this.text);
    this.text = text;
    this.time = time;
    this.future = [];
  }

  /** The text before, or the one after it again; null where there is none. @param {"undo" | "redo"} way */
  step(way) {
    const [from, to] = way === "undo" ? [this.past, this.future] : [this.future, this.past];
    const text = from.pop();
    if (text === undefined) return null;
    to.push(this.text);
    this.text = text;
    this.time = -Infinity;
    return text;
  }
}

export class FieldUndo {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {WeakMap<HTMLInputElement, Texts>} */ this.texts = new WeakMap();
    // By the browser's own menu. On window: it tells the field of which its history says that it was changed last, which
    // may be a cell of the notebook.
    this.onBefore = (/** @type {InputEvent} */ event) => this.before(event);
    window.addEventListener("beforeinput", this.onBefore, true);
    root.addEventListener("focusin", (event) => this.look(event.target));
    root.addEventListener("input", (event) => this.look(event.target));
  }

  dispose() {
    window.removeEventListener("beforeinput", this.onBefore, true);
  }

  /** @param {InputEvent} event */
  before(event) {
    const field = document.activeElement;
    const ways = { historyUndo: "undo", historyRedo: "redo" };
    const way = /** @type {"undo" | "redo" | undefined} */ (ways[/** @type {keyof typeof ways} */ (event.inputType)]);
    if (!way || !field || !this.root.contains(field) || !isTextField(field)) return;
    event.preventDefault();
    event.stopPropagation();
    this.step(field, way);
  }

  /** Notice what is in a field. @param {EventTarget | null} field */
  look(field) {
    if (!(field instanceof HTMLInputElement) || !isTextField(field)) return;
    const texts = this.texts.get(field);
    if (texts) texts.changed(field.value, performance.now());
    else this.texts.set(field, new Texts(field.value));
  }

  /** @param {Element} field @param {"undo" | "redo"} way */
  step(field, way) {
    if (!(field instanceof HTMLInputElement)) return;
    this.look(field); // it may have been cleared by a button
    const text = this.texts.get(field)?.step(way) ?? null;
    if (text === null) return;
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
