// @ts-check
/** The run: buttons, numbers, plots.
 * @typedef {import("./curves.js").Curves} Curves
 * @typedef {import("./wire.js").Run} Run
 */
import { isKnown, metricNames, recentMean } from "./curves.js";
import { button, make, passFocusOn, setAttribute, setText, tellKeys } from "./dom.js";
import { formatCount, formatShare } from "./format.js";
import { Plots } from "./plots.js";

const RECENT_STEPS = 20; // a single batch says little
const MOST_OWN = 4; // metrics of the user's with a number above the plots; the others have their curve
const WHY_NOT = {
  start: "It runs already: stop it first, to start anew.",
  pause: "Nothing runs that could be paused.",
  stop: "Nothing runs that could be stopped.",
};

/** A loss with four significant digits, or a dash. @param {number | null} value */
export function formatLoss(value) {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return "not finite";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : value.toPrecision(4);
}

/** Steps a second. @param {number} rate */
export function formatRate(rate) {
  if (!(rate > 0)) return "";
  return `${rate >= 10 ? Math.round(rate).toLocaleString("en-US") : rate.toFixed(1)} steps/s`;
}

/** The line under the progress bar. @param {Run} run */
export function progressText(run) {
  const parts = [];
  if (run.planned > 0) parts.push(`step ${run.step.toLocaleString("en-US")} of ${run.planned.toLocaleString("en-US")}`);
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

/** The newest numbers of the user's own metrics, as they are shown: of training, and of validation if there are any.
 * @param {Curves} curves @returns {{name: string, value: string, validation: string}[]} */
export function ownMetrics(curves) {
  const names = metricNames(curves).filter((name) => name !== "loss" && name !== "accuracy");
  return names.slice(0, MOST_OWN).map((name) => ({
    name,
    value: formatLoss(recentMean(curves.steps, name, RECENT_STEPS)),
    validation: isKnown(curves.validation.y[name]) ? `val. ${formatLoss(recentMean(curves.validation, name, 1))}` : "",
  }));
}

export class Dashboard {
  /** @param {import("./plots.js").Ask} ask @param {(text: string) => void} tell for all to see
   * @param {(text: string) => void} say to those who hear the page
   * @param {(look: import("./wire.js").Look) => void} looks for all views */
  constructor(ask, tell, say, looks) {
    this.tell = tell;
    this.usable = true;
    this.element = make("section", "fz-run", undefined, { "aria-label": "Training" });
    const controls = make("div", "fz-controls");
    this.controls = controls;
    this.start = button("start", "Start");
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
    this.epochsLabel = label;
    label.append(this.epochs, make("span", "", "epochs"));
    this.pause = button("pause", "Pause");
    this.stop = button("stop", "Stop");
    tellKeys(this.start, ["start"], "Train in the background");
    tellKeys(this.pause, ["pause"], "Stand still after the step in hand");
    tellKeys(this.stop, ["stop"], "End the run after the step in hand");
    this.status = make("span", "fz-status");
    this.status.append(make("span", "fz-dot", undefined, { "aria-hidden": "true" }), make("span", "", ""));
    controls.append(this.start, label, this.pause, this.stop, this.status);

    const progress = make("div", "fz-progress");
    this.bar = /** @type {HTMLProgressElement} */ (
      make("progress", "", undefined, { "aria-label": "Progress of the run" })
    );
    this.line = make("span", "fz-line");
    progress.append(this.bar, this.line);

    this.features = /** @type {HTMLElement} */ (make("p", "fz-features"));

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

    /** Numbers of the user's own metrics, after those. @type {Map<string, {value: Element, validation: Element}>} */
    this.own = new Map();

    this.plots = new Plots(ask, tell, say, looks);
    this.element.append(controls, progress, this.metrics, this.plots.element, this.features);
  }

  dispose() {
    this.plots.dispose();
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key was for the plots */
  key(event) {
    return this.plots.key(event);
  }

  /** By key, what a button or a field does. @param {string} id of an action of the run or of the plots */
  press(id) {
    const control = { start: this.start, pause: this.pause, stop: this.stop }[id];
    if (!control) this.plots.press(id);
    else if (control.hidden) this.tell("The code that drives this run has it in hand.");
    else if (!control.disabled) control.click();
    else if (this.usable) this.tell(WHY_NOT[/** @type {keyof typeof WHY_NOT} */ (id)]); // else the note says why
  }

  /** @param {any} raw */
  setCurves(raw) {
    this.plots.setCurves(raw);
    const metrics = ownMetrics(this.plots.curves);
    const names = metrics.map(({ name }) => name);
    if (names.length !== this.own.size || names.some((name) => !this.own.has(name))) {
      for (const { value } of this.own.values()) value.parentElement?.remove();
      this.own = new Map(names.map((name) => [name, this.ownTile(name)]));
    }
    for (const { name, value, validation } of metrics) {
      const tile = this.own.get(name);
      if (!tile) continue;
      setText(/** @type {Element} */ (tile.value.firstElementChild), value);
      setText(tile.validation, validation);
    }
  }

  /** @param {string} name */
  ownTile(name) {
    const group = make("div", "fz-metric");
    group.title = `${name}: mean of the last training steps that have it; val.: the last validation`;
    const value = make("dd", "", undefined, { "data-own": name });
    const validation = make("span", "fz-validation", "");
    value.append(make("span", "", ""), " ", validation);
    group.append(make("dt", "", name), value);
    this.metrics.append(group);
    return { value, validation };
  }

  /** @param {Run} run @param {boolean} usable */
  setRun(run, usable) {
    this.usable = usable;
    const enabled = enabledActions(run.status);
    this.plots.setUsable(usable);
    this.start.disabled = !usable || !enabled.start;
    this.epochs.disabled = !usable || !enabled.start;
    this.pause.disabled = !usable || !enabled.pause;
    this.stop.disabled = !usable || !enabled.stop;
    // A loop of the user's own is started by their code.
    this.start.hidden = this.epochsLabel.hidden = run.can_start === false;
    this.pause.hidden = run.can_pause === false;
    this.stop.hidden = run.can_stop === false;
    passFocusOn(this.controls);
    const paused = run.status === "paused";
    setText(this.pause, paused ? "Resume" : "Pause");
    setAttribute(this.pause, "data-action", paused ? "resume" : "pause");
    setAttribute(this.status, "data-status", run.status);
    setText(/** @type {Element} */ (this.status.lastElementChild), run.status);
    this.bar.max = Math.max(1, run.planned);
    // Nobody may know how many steps there will be: then the bar only tells that something moves.
    if (!run.planned && run.status === "running") this.bar.removeAttribute("value");
    else this.bar.value = run.planned ? Math.min(run.step, run.planned) : 0;
    const text = progressText(run);
    setText(this.line, text);
    setAttribute(this.bar, "aria-valuetext", text);
    // Its place is kept while there is nothing to say: a click must not move the row under the next one.
    this.features.hidden = run.can_start === false;
    setText(this.features, run.features ?? "");
    this.features.title = run.features ?? "";
    // A loop of the user's own logs what it has; a Trainer will have a number here.
    for (const key of /** @type {const} */ (["validation_loss", "accuracy", "validation_accuracy"])) {
      const group = /** @type {HTMLElement} */ (this.values[key].parentElement);
      group.hidden = run.can_start === false && (run[key] ?? null) === null;
    }
    setText(this.values.loss, formatLoss(run.loss));
    setText(this.values.validation_loss, formatLoss(run.validation_loss));
    setText(this.values.accuracy, formatShare(run.accuracy));
    setText(this.values.validation_accuracy, formatShare(run.validation_accuracy));
  }
}
