// @ts-check
/** The filter: rows by state, by type, with statistics, or those that the search found.
 * @typedef {import("./find.js").Filter} Filter
 */
import { make, setText } from "./dom.js";
import { FILTER_STATES, NO_FILTER, isFiltering } from "./find.js";
import { counted, formatCount } from "./format.js";

export class FilterBar {
  /** @param {(filter: Filter) => void} changed */
  constructor(changed) {
    /** @type {Filter} */ this.filter = { ...NO_FILTER };
    this.changed = changed;
    this.element = make("div", "fz-panel fz-filter", undefined, {
      role: "group",
      "aria-label": "Filter rows",
    });
    this.state = this.choice("State", [
      ["", "any"],
      ...FILTER_STATES.map((s) => /** @type {[string, string]} */ ([s, s])),
    ]);
    this.kind = this.choice("Type", [["", "any"]]);
    this.statistics = this.check("with buffers");
    this.found = this.check("found by the search");
    this.count = make("span", "fz-soft", "", { role: "status" });
    this.clear = /** @type {HTMLButtonElement} */ (
      make("button", "fz-button fz-quiet", "Clear", { type: "button" })
    );
    this.clear.addEventListener("click", () => {
      this.reset();
      this.focus(); // the button hides
    });
    this.element.append(
      this.state.label,
      this.kind.label,
      this.statistics.label,
      this.found.label,
      this.count,
      this.clear,
    );
    this.element.hidden = true;
    this.say(0);
  }

  /** @param {string} title @param {[string, string][]} options */
  choice(title, options) {
    const field = /** @type {HTMLSelectElement} */ (make("select", "fz-input"));
    for (const [value, text] of options) field.append(make("option", "", text, { value }));
    field.addEventListener("change", () => this.read());
    const label = make("label", "fz-field", `${title} `);
    label.append(field);
    return { field, label };
  }

  /** @param {string} title */
  check(title) {
    const field = /** @type {HTMLInputElement} */ (make("input", "", undefined, { type: "checkbox" }));
    field.addEventListener("change", () => this.read());
    const label = make("label", "fz-field");
    label.append(field, title);
    return { field, label };
  }

  /** @param {[string, number][]} kinds */
  setKinds(kinds) {
    const chosen = this.filter.kind;
    const options = [make("option", "", "any", { value: "" })];
    for (const [kind, n] of kinds)
      options.push(make("option", "", `${kind} (${formatCount(n)})`, { value: kind }));
    this.kind.field.replaceChildren(...options);
    this.kind.field.value = kinds.some(([kind]) => kind === chosen) ? chosen : "";
    this.filter.kind = this.kind.field.value;
  }

  focus() {
    this.state.field.focus();
  }

  read() {
    this.filter = {
      state: this.state.field.value,
      kind: this.kind.field.value,
      statistics: this.statistics.field.checked,
      found: this.found.field.checked,
    };
    this.changed(this.filter);
  }

  reset() {
    this.state.field.value = this.kind.field.value = "";
    this.statistics.field.checked = this.found.field.checked = false;
    this.read();
  }

  /** @param {number} count */
  say(count) {
    const filtering = isFiltering(this.filter);
    setText(this.count, filtering ? `${counted(count, "row")} shown` : "");
    this.clear.hidden = !filtering;
  }
}
