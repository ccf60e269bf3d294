// @ts-check
/** What stands around the plots: tabs, options, what can be saved; and the place for the plots, of fixed size.
 *
 * @typedef {{tab: (name: string) => void, table: () => void, save: (format: string) => void, changed: () => void,
 *   zoomOut: () => void}} FrameHear
 * @typedef {{tab: string, empty: boolean, tabled: boolean, axes: string[], zoomed: boolean, summary: string}} FrameState
 */
import { make, reachable, setAttribute, setText, tellKeys } from "./dom.js";

export const HOW_TO = "Drag to zoom, double-click to zoom out. With the keyboard: arrows, + and −, Escape.";
const TABS = { curves: "Curves", gradients: "Gradients", cost: "Cost" };
const TITLES = { curves: "Curves", gradients: "Gradient norms", cost: "Time and memory of steps" };
const EMPTY = {
  curves: "The loss appears here once training runs.",
  gradients: "Norms of gradients appear here, layer by layer, once steps were measured.",
  cost: "Time and memory of each step appear here once training runs.",
};
const AXES = ["step", "epoch", "time"];
const FORMATS = ["png", "svg", "csv"];
/** Positions of the slider: none, then ever slower means. */
const SMOOTH = [0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999];

let framesMade = 0;

export class PlotFrame {
  /** @param {HTMLElement} charts @param {FrameHear} hear */
  constructor(charts, hear) {
    this.charts = charts;
    const id = `fz-plots-${++framesMade}`;
    this.id = id;
    this.element = make("div", "fz-plots");

    const tablist = make("div", "fz-tabs", undefined, { role: "tablist", "aria-label": "Plots" });
    /** @type {Record<string, HTMLElement>} */ this.tabs = {};
    for (const [name, title] of Object.entries(TABS)) {
      const tab = make("button", "fz-tab", title, {
        type: "button",
        role: "tab",
        id: `${id}-${name}`,
        "aria-controls": `${id}-panel`,
        "data-tab": name,
      });
      tab.addEventListener("click", () => hear.tab(name));
      this.tabs[name] = tab;
      tablist.append(tab);
    }
    this.tableButton = smallButton("Table", "The numbers of this plot as a table", hear.table, "table");
    this.saves = FORMATS.map((format) => {
      const what = format === "csv" ? "all numbers of the run as CSV" : `this plot as ${format.toUpperCase()}`;
      return smallButton(format.toUpperCase(), `Save ${what}`, () => hear.save(format), format);
    });
    const outs = make("span", "fz-group fz-outs");
    outs.append(this.tableButton, ...this.saves);
    const head = make("div", "fz-plothead");
    head.append(tablist, outs);

    this.axisField = /** @type {HTMLSelectElement} */ (
      make("select", "fz-select", undefined, { "aria-label": "x axis" })
    );
    for (const name of AXES) this.axisField.append(make("option", "", name, { value: name }));
    this.logField = /** @type {HTMLInputElement} */ (make("input", "", undefined, { type: "checkbox" }));
    this.smoothField = /** @type {HTMLInputElement} */ (
      make("input", "fz-range", undefined, {
        type: "range",
        min: "0",
        max: String(SMOOTH.length - 1),
        value: "3",
        "aria-label": "smooth",
      })
    );
    this.smoothText = make("output", "fz-smoothtext", "off");
    /** What is kept of the mean at each step; 0: nothing is smoothed. */
    this.smooth = SMOOTH[Number(this.smoothField.value)];
    this.changed = hear.changed;
    tellKeys(this.axisField, ["axis"]);
    tellKeys(this.logField, ["log"]);
    tellKeys(this.smoothField, ["rougher", "smoother"], "Smooth less, more");
    for (const field of [this.axisField, this.logField]) field.addEventListener("change", hear.changed);
    this.smoothField.addEventListener("input", () => this.readSmooth());
    this.zoomOut = smallButton("Zoom out", "Show the whole run", hear.zoomOut);
    this.logLabel = labelled(this.logField, make("span", "", "log y"));
    this.smoothLabel = labelled(make("span", "", "smooth"), this.smoothField, this.smoothText);
    const options = make("div", "fz-plotoptions");
    options.append(labelled(make("span", "", "x"), this.axisField), this.logLabel, this.smoothLabel, this.zoomOut);

    this.strip = make("div", "fz-strip");
    this.place = make("div", "fz-figure", undefined, {
      role: "tabpanel",
      id: `${id}-panel`,
      "aria-describedby": `${id}-summary`,
    });
    this.hint = make("div", "fz-hint", EMPTY.curves);
    this.table = make("div", "fz-tablebox", undefined, { tabindex: "0", role: "region", "aria-label": "Data" });
    for (const [name, value] of Object.entries({ role: "slider", tabindex: "0", "aria-valuemin": "0" }))
      setAttribute(charts, name, value);
    this.place.append(charts, this.table, this.hint);
    this.summary = make("p", "fz-unseen", "", { id: `${id}-summary` });
    this.readout = make("div", "fz-readout", HOW_TO);
    reachable(this.strip, "Legend");
    reachable(this.readout, "Values");
    this.element.append(head, options, this.strip, this.place, this.summary, this.readout);
  }

  /** What the plots run over. */
  get axis() {
    return this.axisField.value;
  }

  get log() {
    return this.logField.checked;
  }

  readSmooth() {
    this.smooth = SMOOTH[Number(this.smoothField.value)];
    this.changed();
  }

  /** @param {{x: string, log: boolean, smooth: number}} look of which the slider has the nearest to what code may say */
  setLook({ x, log, smooth }) {
    this.axisField.value = x;
    this.logField.checked = log;
    this.smooth = smooth;
    const off = SMOOTH.map((position) => Math.abs(position - smooth));
    this.smoothField.value = String(off.indexOf(Math.min(...off)));
  }

  /** The button of an action. @param {string} id */
  buttonOf(id) {
    return id === "table" ? this.tableButton : this.saves[FORMATS.indexOf(id)];
  }

  /** What a key does to a field; says what it is then. @param {string} id of an action */
  change(id) {
    const { axisField, logField, smoothField } = this;
    if (id === "axis") {
      const names = [...axisField.options].filter((option) => !option.disabled).map((option) => option.value);
      axisField.value = names[(names.indexOf(axisField.value) + 1) % names.length];
    } else if (id === "log") logField.checked = !logField.checked;
    else {
      smoothField.stepUp(id === "smoother" ? 1 : -1); // stays within its ends
      this.readSmooth();
    }
    if (id === "axis" || id === "log") this.changed();
    if (id === "axis") return `x axis: ${this.axis}`;
    return id === "log" ? `Log scale ${this.log ? "on" : "off"}` : `Smooth ${this.smooth || "off"}`;
  }

  /** @param {FrameState} state */
  show(state) {
    const tab = /** @type {keyof typeof TABS} */ (state.tab);
    for (const [name, element] of Object.entries(this.tabs)) {
      setAttribute(element, "aria-selected", name === tab ? "true" : "false");
      element.tabIndex = name === tab ? 0 : -1;
    }
    setAttribute(this.place, "aria-labelledby", `${this.id}-${tab}`);
    setAttribute(this.charts, "aria-label", `${TITLES[tab]}: position in the run`);
    setText(this.hint, EMPTY[tab]);
    this.hint.hidden = !state.empty;
    this.table.hidden = state.empty || !state.tabled;
    this.charts.classList.toggle("fz-away", state.empty || state.tabled);
    setAttribute(this.tableButton, "aria-pressed", state.tabled ? "true" : "false");
    this.tableButton.disabled = state.empty;
    for (const option of this.axisField.options) option.disabled = !state.axes.includes(option.value);
    for (const label of [this.logLabel, this.smoothLabel]) label.classList.toggle("fz-idle", tab !== "curves");
    const smooth = this.smooth ? String(this.smooth) : "off";
    setText(this.smoothText, smooth);
    setAttribute(this.smoothField, "aria-valuetext", smooth);
    this.zoomOut.disabled = !state.zoomed;
    setText(this.summary, state.summary);
  }

  /** Whether there is something to save, and a kernel that does it. @param {boolean} savable */
  setSavable(savable) {
    for (const save of this.saves) save.disabled = !savable;
  }
}

/** @param {string} text @param {string} title @param {() => void} pressed @param {string} [id] of an action with keys */
function smallButton(text, title, pressed, id) {
  const element = /** @type {HTMLButtonElement} */ (
    make("button", "fz-button fz-small", text, { type: "button", title })
  );
  if (id) tellKeys(element, [id], title);
  element.addEventListener("click", pressed);
  return element;
}

/** @param {HTMLElement[]} parts */
function labelled(...parts) {
  const label = make("label", "fz-option");
  label.append(...parts);
  return label;
}
