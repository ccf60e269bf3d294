// @ts-check
/** The plots of a run: curves, gradients and costs, with their controls, in a place of fixed size.
 *
 * @typedef {import("./curves.js").Curves} Curves
 * @typedef {import("./curves.js").Table} Table
 * @typedef {import("./charts.js").Panel} Panel
 * @typedef {import("./charts.js").Picture} Picture
 * @typedef {import("./wire.js").Look} Look
 * @typedef {(about: string, rest: object, answered: (answer: any, buffers: DataView[]) => void) => boolean} Ask
 */
import { Charts } from "./charts.js";
import { PALETTES, modeOf } from "./colors.js";
import { axisNames, axisOf, isKnown, lastStep, metricNames, readCurves, readTable } from "./curves.js";
import { download, setAttribute, setText } from "./dom.js";
import { heatPanel, readHeat } from "./heatmap.js";
import { legend } from "./legend.js";
import { lanes, readMarks } from "./marks.js";
import { HOW_TO, PlotFrame } from "./plotframe.js";
import { plotKey } from "./plotkeys.js";
import { costPanels, metricPanels } from "./panels.js";
import { costInWords, curvesReading, gradientReading, heatInWords } from "./readings.js";
import { curvesTable, costTable, heatTable } from "./tables.js";
import { revive } from "./wire.js";

const FINER_AFTER_MS = 150;
const LOOKS_AFTER_MS = 150;

export class Plots {
  /** @param {Ask} ask @param {(text: string) => void} tell for all to see
   * @param {(text: string) => void} say to those who hear the page
   * @param {(look: Look) => void} looks how they are shown, for all views */
  constructor(ask, tell, say, looks) {
    this.ask = ask;
    this.tell = tell;
    this.say = say;
    this.looks = looks;
    this.seen = ""; // the last look that was taken in
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.telling = undefined;
    this.tab = "curves";
    this.mode = "light";
    this.tabled = false;
    /** The metrics that are wanted; null: all that there are. @type {string[] | null} */ this.only = null;
    /** In steps, so that it stays when the axis changes. @type {[number, number] | null} */ this.zoom = null;
    /** What is zoomed into, in finer buckets. @type {{first: number, last: number, steps: Table, validation: Table} | null} */
    this.fine = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.asking = undefined;
    this.curves = readCurves({});
    this.marks = readMarks({});
    this.heat = readHeat({});
    this.usable = true;
    this.charts = new Charts({
      hovered: (x, row) => this.showReadout(x, row),
      zoomed: (range) => this.zoomTo(range),
    });
    this.frame = new PlotFrame(this.charts.element, {
      tab: (name) => this.open(name),
      table: () => {
        this.tabled = !this.tabled;
        this.changed();
      },
      save: (format) => this.save(format),
      changed: () => this.changed(),
      zoomOut: () => this.zoomTo(null),
    });
    this.element = this.frame.element;
    this.observer = new ResizeObserver(() => this.charts.resized());
    this.observer.observe(this.charts.element);
    // The theme may change while the page stands.
    this.themes = new MutationObserver(() => this.refresh());
    const watched = { attributes: true, attributeFilter: ["data-jp-theme-light", "class", "theme"] };
    this.themes.observe(document.body, watched);
    this.themes.observe(document.documentElement, watched);
    this.media = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => window.matchMedia(query));
    this.recolor = () => this.refresh();
    for (const query of this.media) query.addEventListener("change", this.recolor);
    this.refresh();
  }

  dispose() {
    clearTimeout(this.asking);
    clearTimeout(this.telling);
    this.observer.disconnect();
    this.themes.disconnect();
    for (const query of this.media) query.removeEventListener("change", this.recolor);
    this.charts.dispose();
  }

  // ---- from the kernel

  /** @param {any} raw */
  setCurves(raw) {
    this.curves = readCurves(raw);
    this.refresh();
  }

  /** @param {any} raw */
  setMarks(raw) {
    this.marks = readMarks(raw);
    this.refresh();
  }

  /** @param {any} raw */
  setHeat(raw) {
    this.heat = readHeat(raw);
    if (this.tab === "gradients") this.refresh();
  }

  /** Whether there is a kernel to ask. @param {boolean} usable */
  setUsable(usable) {
    this.usable = usable;
    this.frame.setSavable(usable && !this.empty);
  }

  // ---- what is shown

  /** @param {string} tab */
  open(tab) {
    this.tab = tab;
    this.charts.x = null;
    this.charts.row = 0;
    this.changed();
  }

  /** @returns {Look} */
  get look() {
    const { axis, log, smooth } = this.frame;
    return { plot: this.tab, x: axis, log, smooth, metrics: this.only, table: this.tabled };
  }

  /** Somebody changed here how the plots are shown; all views are told when a slider stands still. */
  changed() {
    this.seen = "";
    this.refresh();
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      this.telling = undefined;
      this.looks(this.look);
    }, LOOKS_AFTER_MS);
  }

  /** Take in how they are shown in all views. @param {Look} look */
  setLook(look) {
    const seen = JSON.stringify(look);
    if (this.telling !== undefined || seen === this.seen) return;
    this.seen = seen;
    if (look.plot !== this.tab) {
      this.charts.x = null;
      this.charts.row = 0;
    }
    this.tab = look.plot;
    this.tabled = look.table;
    this.only = look.metrics;
    this.frame.setLook(look);
    this.refresh();
  }

  get empty() {
    if (this.tab === "gradients") return !this.heat.steps.length || !this.heat.labels.length;
    if (this.tab === "cost")
      return !["seconds", "saved_bytes", "memory"].some((name) => isKnown(this.curves.steps.y[name]));
    return !this.curves.steps.rows && !this.curves.validation.rows;
  }

  refresh() {
    const { frame } = this;
    const { empty } = this;
    frame.show({
      tab: this.tab,
      empty,
      tabled: this.tabled,
      axes: axisNames(this.curves),
      zoomed: this.zoom !== null,
      summary: this.describe(),
    });
    this.setUsable(this.usable);
    this.mode = modeOf(this.element);
    if (empty) {
      frame.strip.replaceChildren();
      this.showReadout(null);
      return;
    }
    const picture = this.picture();
    this.showStrip();
    if (this.tabled) this.showTable(picture);
    else this.charts.show(picture);
    const [low, high] = this.charts.range;
    setAttribute(this.charts.element, "aria-valuemin", rounded(low));
    setAttribute(this.charts.element, "aria-valuemax", rounded(high));
    if (this.charts.x === null) this.showReadout(null);
  }

  /** @returns {Picture} */
  picture() {
    const last = lastStep(this.curves);
    const axis = axisOf(this.frame.axis, this.curves);
    const palette = PALETTES[this.mode];
    const zoom = this.zoom && /** @type {[number, number]} */ (this.zoom.map((step) => axis.at(step)));
    return {
      axis,
      full: [0, Math.max(axis.at(last), 1e-9)],
      zoom: zoom && zoom[1] > zoom[0] ? zoom : null,
      panels: this.panels(axis, last),
      marks: this.marks,
      last,
      palette,
      mode: this.mode,
    };
  }

  /** @param {import("./curves.js").Axis} axis @param {number} last @returns {Panel[]} */
  panels(axis, last) {
    const palette = PALETTES[this.mode];
    if (this.tab === "gradients") return [heatPanel(this.heat, axis, last, palette.missing)];
    const fine =
      this.zoom && this.fine && this.fine.first <= this.zoom[0] && this.fine.last >= this.zoom[1] ? this.fine : null;
    const curves = fine ? { ...this.curves, steps: fine.steps, validation: fine.validation } : this.curves;
    if (this.tab === "cost") return costPanels(curves, axis, palette);
    const shown = this.shown;
    return metricPanels(curves, axis, palette, { names: shown, log: this.frame.log, smooth: this.frame.smooth });
  }

  /** Metrics that are shown: at least one. */
  get shown() {
    const names = metricNames(this.curves);
    const shown = names.filter((name) => this.only?.includes(name) ?? true);
    return shown.length ? shown : names.slice(0, 1);
  }

  /** Keys of colours, and which metrics are shown; made anew only when they differ: a chip may have the focus. */
  showStrip() {
    const state = {
      tab: this.tab,
      mode: this.mode,
      shown: this.shown,
      names: metricNames(this.curves),
      validated: isKnown(this.curves.validation.y.loss),
      kept: isKnown(this.curves.steps.y.saved_bytes),
      low: this.heat.low,
      high: this.heat.high,
    };
    const { strip } = this.frame;
    const key = JSON.stringify(state);
    if (key === strip.getAttribute("data-key") && strip.childElementCount) return;
    strip.setAttribute("data-key", key);
    const focused = strip.contains(document.activeElement) ? document.activeElement?.textContent : null;
    strip.replaceChildren(...legend(state, (name) => this.toggle(name)));
    if (focused) for (const chip of strip.querySelectorAll("button")) if (chip.textContent === focused) chip.focus();
  }

  /** @param {string} name */
  toggle(name) {
    const shown = this.shown;
    const wanted = metricNames(this.curves).filter((other) => (other === name) !== shown.includes(other));
    if (wanted.length) this.only = wanted.length < metricNames(this.curves).length ? wanted : null;
    this.changed();
  }

  describe() {
    if (this.tab === "gradients" && !this.empty) return heatInWords(this.heat);
    if (this.tab === "cost" && !this.empty) return costInWords(this.curves);
    return this.curves.text;
  }

  /** @param {Picture} picture */
  showTable(picture) {
    const scrolled = this.frame.table.scrollTop;
    const made =
      this.tab === "gradients"
        ? heatTable(this.heat)
        : this.tab === "cost"
          ? costTable(this.curves, lanes(this.marks, lastStep(this.curves), Infinity))
          : curvesTable(this.curves, this.shown, this.marks);
    this.frame.table.replaceChildren(made);
    this.frame.table.scrollTop = scrolled;
    this.charts.picture = picture;
  }

  // ---- where one points

  /** @param {number | null} x @param {number} [row] */
  showReadout(x, row = 0) {
    const slider = this.charts.element;
    if (x === null || this.empty) {
      setText(this.frame.readout, this.empty ? "" : HOW_TO);
      setAttribute(slider, "aria-valuenow", "0");
      setAttribute(slider, "aria-valuetext", this.describe());
      return;
    }
    const axis = axisOf(this.frame.axis, this.curves);
    const nodes =
      this.tab === "gradients"
        ? gradientReading(this.heat, axis.back(x), row)
        : curvesReading(this.curves, axis, x, this.charts.valuesAt(x));
    this.frame.readout.replaceChildren(...nodes);
    setAttribute(slider, "aria-valuenow", rounded(x));
    setAttribute(slider, "aria-valuetext", this.frame.readout.textContent);
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key was ours */
  key(event) {
    return plotKey(this, event);
  }

  /** By key, what a button or a field above the plots does. @param {string} id of an action */
  press(id) {
    const { frame } = this;
    if (id === "plot") {
      const names = Object.keys(frame.tabs);
      this.open(names[(names.indexOf(this.tab) + 1) % names.length]);
      this.say(`${frame.tabs[this.tab].textContent}`);
      return;
    }
    const control = frame.buttonOf(id);
    if (control && !control.disabled) {
      const within = frame.place.contains(document.activeElement);
      control.click();
      // Plot and table take each other's place: the focus goes along.
      if (within && id === "table") (this.tabled ? frame.table : this.charts.element).focus({ preventScroll: true });
    } else if (control) {
      if (this.usable) this.tell("There is nothing in this plot yet.");
    } else if (id !== "axis" && this.tab !== "curves") this.tell("Log scale and smoothing are about the curves.");
    else this.say(frame.change(id));
  }

  /** @param {KeyboardEvent} event */
  tabKey(event) {
    const names = Object.keys(this.frame.tabs);
    const at = names.indexOf(this.tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return false;
    this.open(names[(to + names.length) % names.length]);
    this.frame.tabs[this.tab].focus();
    return true;
  }

  // ---- zoom

  /** @param {[number, number] | null} range on the axis that is shown */
  zoomTo(range) {
    if (range) {
      const axis = axisOf(this.frame.axis, this.curves);
      const steps = range.map((x) => axis.back(x));
      const last = lastStep(this.curves);
      const low = Math.max(0, Math.min(steps[0], last - 1));
      this.zoom = [low, Math.max(low + 1, Math.min(steps[1], last))];
      if (this.zoom[0] <= 0 && this.zoom[1] >= last) this.zoom = null;
    } else this.zoom = null;
    this.askFiner();
    this.refresh();
  }

  /** @param {number} factor */
  zoomBy(factor) {
    const [low, high] = this.charts.range;
    const [begin, end] = this.charts.picture?.full ?? [low, high];
    const width = Math.min((high - low) * factor, end - begin);
    const middle = this.charts.x ?? (low + high) / 2;
    const first = Math.max(begin, Math.min(middle - width / 2, end - width)); // as wide also at the ends
    this.zoomTo([first, first + width]);
  }

  /** Ask for what is zoomed into in finer buckets, where there are any. */
  askFiner() {
    clearTimeout(this.asking);
    const zoom = this.zoom;
    if (!zoom || this.curves.steps.width === 1 || !this.usable) return;
    if (this.fine && this.fine.first <= zoom[0] && this.fine.last >= zoom[1] && this.fine.steps.width === 1) return;
    this.asking = setTimeout(() => {
      // Some more on the left: a moving mean begins before what is seen.
      const first = Math.max(0, Math.floor(zoom[0] - (zoom[1] - zoom[0]) / 2));
      const last = Math.ceil(zoom[1]);
      this.ask("curves", { first, last }, (answer, buffers) => {
        if (!answer.steps) return;
        const revived = revive(answer, buffers);
        this.fine = { first, last, steps: readTable(revived.steps), validation: readTable(revived.validation) };
        this.refresh();
      });
    }, FINER_AFTER_MS);
  }

  // ---- out of the page

  /** @param {string} format */
  save(format) {
    this.ask("export", { ...this.look, format, metrics: this.shown }, (answer, buffers) => {
      if (answer.error || !buffers.length) return this.tell(answer.error || "Nothing could be saved.");
      download(this.element, answer.name, answer.mime, buffers[0]);
      this.tell(`Saved ${answer.name}.`);
    });
  }
}

/** @param {number} value */
function rounded(value) {
  return String(Math.round(value * 1000) / 1000);
}
