// @ts-check
/** The search box: highlights while one types, counts, and goes from one found row to the next. */
import { iconButton, make, setAttribute, setText, tellKeys } from "./dom.js";
import { formatCount } from "./format.js";

export class SearchBox {
  /** @param {(typed: boolean) => void} search */
  constructor(search) {
    this.search = search;
    this.element = make("div", "fz-search", undefined, { role: "search", "aria-label": "Rows" });
    this.input = /** @type {HTMLInputElement} */ (
      make("input", "fz-input", undefined, {
        type: "search",
        placeholder: "Search names and types",
        "aria-label": "Search names and types",
        "aria-keyshortcuts": "/ Control+F",
        autocomplete: "off",
        spellcheck: "false",
        maxlength: "500",
      })
    );
    this.count = make("span", "fz-search-count", "");
    this.previous = iconButton("previous", "Previous found row", "up");
    this.next = iconButton("next", "Next found row", "down");
    tellKeys(this.previous, ["previous"]);
    tellKeys(this.next, ["next"]);
    this.element.append(this.input, this.count, this.previous, this.next);
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.timer = undefined;
    this.input.addEventListener("input", () => this.typed());
    this.show(0, 0);
  }

  get text() {
    return this.input.value;
  }

  /** In the next turn: a letter shows at once, however many rows are looked through. */
  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), 0);
  }

  /** What was typed is searched for now, if it was not yet. */
  flush() {
    if (this.timer === undefined) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.search(true);
  }

  clear() {
    this.input.value = "";
    this.search(false);
  }

  dispose() {
    clearTimeout(this.timer);
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  /** @param {number} at from 1 on; 0 for none @param {number} of */
  show(at, of) {
    const asked = this.input.value !== "";
    setText(this.count, !asked ? "" : of ? `${formatCount(at)} of ${formatCount(of)}` : "no match");
    setAttribute(this.input, "aria-invalid", asked && !of ? "true" : null);
    this.previous.hidden = this.next.hidden = !of;
  }
}
