// @ts-check
/** The selector box: what a selector names and would change is shown in the tree before anything changes. */
import { make, setAttribute, setText } from "./dom.js";
import { counted, formatBytes } from "./format.js";

const PREVIEW_AFTER_MS = 120; // for the next letter

/** The sentence under the box. @param {any} answer @returns {{text: string, bad: boolean}} */
export function previewText(answer) {
  if (answer.error) return { text: answer.error, bad: true };
  const parts = [
    `${counted(answer.matches, "parameter")} named (${counted(answer.n_parameters, "number")}, ${formatBytes(answer.n_bytes)})`,
    answer.changes ? `${counted(answer.changes, "would change", "would change")}` : "nothing would change",
  ];
  if (answer.locked) parts.push(`${counted(answer.locked, "is", "are")} locked and would stay`);
  return { text: `${parts.join("; ")}.`, bad: false };
}

export class SelectorBox {
  /** @param {{preview: (text: string, action: string) => void, act: (action: string, text: string) => void}} calls */
  constructor(calls) {
    this.calls = calls;
    this.element = make("div", "fz-panel fz-selector", undefined, {
      role: "group",
      "aria-label": "Selector",
    });
    this.input = /** @type {HTMLInputElement} */ (
      make("input", "fz-input fz-mono", undefined, {
        type: "text",
        placeholder: "**.bias | type:LayerNorm",
        "aria-label": "Selector: path, glob, re:…, type:…, combined with | & - ~",
        autocomplete: "off",
        spellcheck: "false",
        maxlength: "2000",
      })
    );
    this.input.title =
      "A path (encoder.0), a glob (**.bias), re:… or type:…; joined by | (or), & (and), - (without), ~ (not)";
    this.freeze = this.button("Freeze", "freeze");
    this.unfreeze = this.button("Unfreeze", "unfreeze");
    this.said = make("div", "fz-selector-said", "", { role: "status" });
    const line = make("div", "fz-selector-line");
    line.append(this.input, this.freeze, this.unfreeze);
    this.element.append(line, this.said);
    this.element.hidden = true;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.timer = undefined;
    this.action = "freeze";
    this.good = false;
    this.usable = true;
    this.input.addEventListener("input", () => this.typed());
    this.enable();
  }

  /** @param {string} title @param {string} action */
  button(title, action) {
    const button = /** @type {HTMLButtonElement} */ (make("button", "fz-button", title, { type: "button" }));
    button.addEventListener("click", () => this.run(action));
    // The preview is about the button that one is about to press.
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, () => this.aim(action));
    return button;
  }

  focus() {
    this.input.focus();
  }

  get text() {
    return this.input.value.trim();
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), PREVIEW_AFTER_MS);
  }

  /** @param {string} action */
  aim(action) {
    if (this.action === action || !this.text) return;
    this.action = action;
    this.ask();
  }

  ask() {
    clearTimeout(this.timer);
    this.calls.preview(this.text, this.action);
    if (!this.text) this.show(null);
  }

  /** @param {any} answer null for an empty box */
  show(answer) {
    const { text, bad } = answer ? previewText(answer) : { text: "", bad: false };
    setText(this.said, text);
    setAttribute(this.said, "data-level", bad ? "error" : null);
    setAttribute(this.input, "aria-invalid", bad ? "true" : null);
    this.good = answer !== null && !bad;
    this.enable();
  }

  /** @param {boolean} usable */
  setUsable(usable) {
    this.usable = usable;
    this.enable();
  }

  enable() {
    this.freeze.disabled = this.unfreeze.disabled = !this.usable || !this.good;
  }

  /** @param {string} action */
  run(action) {
    if (this.text && !this.freeze.disabled) this.calls.act(action, this.text);
  }

  /** Enter: do what is previewed. */
  enter() {
    if (this.good) this.run(this.action);
    else this.ask();
  }

  dispose() {
    clearTimeout(this.timer);
  }
}
