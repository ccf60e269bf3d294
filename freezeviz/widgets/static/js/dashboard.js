// @ts-check
/** The run: buttons, numbers, plots.
 * @typedef {import("./wire.js").Run} Run
 */
import { button, make, passFocusOn, setAttribute, setText } from "./dom.js";
import { formatCount, formatShare } from "./format.js";
import { Plots } from "./plots.js";

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

export class Dashboard {
  /** @param {import("./plots.js").Ask} ask @param {(text: string) => void} tell */
  constructor(ask, tell) {
    this.element = make("section", "fz-run", undefined, { "aria-label": "Training" });
    const controls = make("div", "fz-controls");
    this.controls = controls;
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
    this.epochsLabel = label;
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

    this.plots = new Plots(ask, tell);
    this.element.append(controls, progress, this.metrics, this.plots.element, this.features);
  }

  dispose() {
    this.plots.dispose();
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key was for the plots */
  key(event) {
    return this.plots.key(event);
  }

  /** @param {Run} run @param {boolean} usable */
  setRun(run, usable) {
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
