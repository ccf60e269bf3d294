// @ts-check
/** One view of an explorer: the tree, the run, and their talk with the kernel.
 * @typedef {import("./wire.js").Model} Model
 * @typedef {import("./wire.js").Run} Run
 */
import { REPEATED, UNDOING, actionOf } from "./actions.js";
import { setBanner } from "./banners.js";
import { Dashboard, enabledActions } from "./dashboard.js";
import { button, isTextField, make, setAttribute } from "./dom.js";
import { FieldUndo } from "./fieldundo.js";
import { isEditing, keyName } from "./keys.js";
import { ModelPanel } from "./modelpanel.js";
import { Talk } from "./talk.js";
import { bytesOf } from "./wire.js";

const GONE = "The kernel behind this view is gone. Run the cell again.";

export class View {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.root = make("div", "freezeviz freezeviz-live");
    this.banners = make("div", "fz-banners");
    this.talk = new Talk(model, {
      answered: (row) => this.panel.grid.answered(row),
      broken: () => this.setDead(true),
    });
    this.panel = new ModelPanel(this.root, this.talk);
    /** @type {Dashboard | null} */ this.dashboard = null;
    this.columns = make("div", "fz-columns");
    this.columns.append(this.panel.element);
    this.root.append(this.banners, this.columns);
    el.append(this.root);
    this.fields = new FieldUndo(this.root);

    /** @type {[string, (...args: any[]) => void][]} */
    this.handlers = [
      ["change:tree", () => this.readTree()],
      ["change:state", () => this.panel.setState(bytesOf(model.get("state")))],
      ["change:folds", () => this.readFolds()],
      ["change:measures", () => this.readMeasures()],
      ["change:roles", () => this.readMeasures()],
      ["change:info", () => this.readInfo()],
      ["change:run", () => this.readRun()],
      ["change:curves", () => this.dashboard?.setCurves(model.get("curves"))],
      ["change:marks", () => this.dashboard?.plots.setMarks(model.get("marks"))],
      ["change:heat", () => this.dashboard?.plots.setHeat(model.get("heat"))],
      ["msg:custom", (message, buffers) => this.received(message, buffers)],
      ["comm_live_update", () => this.readLiveness()],
      ["destroy", () => this.setDead(true)],
    ];
    for (const [event, handler] of this.handlers) model.on(event, handler);
    this.root.addEventListener("click", (event) => this.clicked(event));
    // On window, in the capture phase: Notebook 7 handles its command-mode keys on document in that phase, so a
    // listener on the tree would come too late, and in Lab a typed letter would become a command.
    this.onKey = (/** @type {KeyboardEvent} */ event) => this.key(event);
    window.addEventListener("keydown", this.onKey, true);
    this.timer = setInterval(() => this.watch(), 1000);

    const size = this.size(); // before there are rows: asked for after, the page would be laid out twice
    this.readTree();
    this.readInfo();
    this.readRun();
    // A view of a saved state has no connection from the beginning; the manager marks it.
    if (el.classList.contains("jupyter-widgets-disconnected")) this.setDead(true);
    this.send("hello", size);
    this.panel.tellColumns();
  }

  dispose() {
    this.talk.dispose();
    window.removeEventListener("keydown", this.onKey, true);
    clearInterval(this.timer);
    for (const [event, handler] of this.handlers) this.model.off(event, handler);
    this.fields.dispose();
    this.panel.dispose();
    this.dashboard?.dispose();
    this.root.remove();
  }

  get dead() {
    return this.talk.dead;
  }

  // ---- from the kernel

  readTree() {
    this.panel.setTree(this.model.get("tree"));
    this.panel.setState(bytesOf(this.model.get("state")));
    this.readFolds();
    this.readMeasures();
  }

  readFolds() {
    this.panel.setFolds(bytesOf(this.model.get("folds")));
  }

  readMeasures() {
    this.panel.setMeasures(this.model.get("measures"), this.model.get("roles"));
  }

  readInfo() {
    const info = this.model.get("info");
    // Next to the tree as well: the banner of a tall widget may be out of sight.
    if (this.dead) this.panel.setNote(GONE, "error");
    else this.panel.setNote(info.note?.text ?? "", info.note?.level ?? "info");
    this.readFolds(); // before what is selected is shown
    this.panel.setInfo(info);
    this.readPlots();
  }

  readPlots() {
    const { plots } = this.model.get("info");
    if (plots && !this.talk.waitsFor("plots")) this.dashboard?.plots.setLook(plots);
  }

  readRun() {
    const run = /** @type {Run | null} */ (this.model.get("run"));
    if (!run) return;
    this.dashboard ??= this.openDashboard();
    this.dashboard.setRun(run, !this.dead);
    const kept = "Model, history and events are kept; trainer.wait() raises the error with its traceback.";
    this.banner("error", run.error ? "The run failed" : null, run.error ? `${run.error}\n${kept}` : "");
    this.banner(
      "nan",
      run.not_finite ? "The loss is not finite" : null,
      run.not_finite ?? "",
      enabledActions(run.status).stop ? button("stop", "Stop the run") : null,
    );
  }

  /** There may be no run at first: a loop of the user's own begins later. */
  openDashboard() {
    const dashboard = new Dashboard(
      (about, rest, answered) => this.talk.ask(about, rest, answered),
      (text) => this.panel.setNote(text, "info"),
      (text) => this.panel.say(text),
      (look) => this.talk.send("plots", look),
    );
    // In one column the run stands above the tree, the buttons and the curve first: so Tab has to find them first.
    this.columns.prepend(dashboard.element);
    this.dashboard = dashboard;
    dashboard.plots.setMarks(this.model.get("marks"));
    dashboard.plots.setHeat(this.model.get("heat"));
    dashboard.setCurves(this.model.get("curves"));
    this.readPlots();
    return dashboard;
  }

  /** @param {any} message @param {DataView[]} buffers */
  received(message, buffers) {
    if (!this.talk.isMine(message)) return;
    this.setDead(false);
    this.talk.received(message, buffers);
    if (message.type === "ack") {
      this.readFolds(); // what others said meanwhile
      this.panel.setInfo(this.model.get("info"));
      this.readPlots();
    }
    this.watch();
  }

  /** The connection of the model came or went: how a page learns that its kernel was restarted. Which of the two
   * it was, the model does not show to a view; a kernel that answers to a new hello is there. */
  readLiveness() {
    if (!this.dead) this.setDead(true);
    else this.talk.post("hello", this.size());
  }

  /** @param {boolean} dead */
  setDead(dead) {
    if (dead === this.dead) return;
    this.talk.dead = dead;
    this.talk.reset();
    this.root.classList.toggle("fz-dead", dead);
    this.banner(
      "gone",
      dead ? "The kernel behind this view is gone" : null,
      "What you see is the last state it sent. Run the cell again to connect.",
    );
    this.banner("silent", null, "");
    this.panel.setDead(dead);
    this.readInfo();
    this.readRun();
  }

  // ---- to the kernel

  /** @param {string} type @param {object} rest */
  send(type, rest) {
    this.talk.send(type, rest);
  }

  /** @param {string} id @param {HTMLElement | null} [at] */
  act(id, at = null) {
    if (id === "start") this.startRun();
    else if (!this.panel.act(id, at)) this.send(id, {});
  }

  startRun() {
    const field = this.dashboard?.epochs;
    if (!field || this.dashboard?.start.disabled) return;
    const epochs = Number(field.value);
    const good = Number.isInteger(epochs) && epochs >= 1;
    setAttribute(field, "aria-invalid", good ? null : "true");
    if (good) this.send("start", { epochs });
    else this.panel.setNote("Epochs: a whole number from 1 on.", "warning");
  }

  /** Width of the view in CSS pixels (0: not known yet), and device pixels to one of them. */
  size() {
    return { width: Math.round(this.root.clientWidth), ratio: window.devicePixelRatio || 1 };
  }

  // ---- the page

  /** @param {MouseEvent} event */
  clicked(event) {
    const target = /** @type {HTMLButtonElement | null} */ (
      /** @type {Element} */ (event.target).closest("button[data-action]")
    );
    if (target && !target.disabled) this.act(target.getAttribute("data-action") ?? "", target);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = event.composedPath()[0];
    if (!(target instanceof Element) || !this.root.contains(target)) return;
    const { menu } = this.panel;
    if (menu.isOpen) {
      event.stopPropagation();
      if (menu.key(event)) event.preventDefault();
      return;
    }
    const name = keyName(event);
    if (target.closest(".fz-dialog")) {
      event.stopPropagation(); // its keys work by themselves
      // But for undo: a browser's is of the whole page, and nothing in here can be undone.
      if (UNDOING.includes(actionOf(name)?.id ?? "")) event.preventDefault();
      return;
    }
    if (event.key === "Tab") return;
    if (this.panel.key(event, target, name) || this.dashboard?.key(event) || this.keyAnywhere(event, target, name)) {
      event.stopPropagation();
      event.preventDefault();
    } else if (isTextField(target) && isEditing(name)) {
      event.stopPropagation(); // the field copies and moves by itself; a notebook would do so with its cells
    } else if (
      !event.ctrlKey &&
      !event.metaKey &&
      !event.altKey &&
      name !== "Escape" &&
      name !== "Shift+Enter"
    ) {
      event.stopPropagation(); // typed here, not a command of the notebook
    }
  }

  /** Keys that mean the same in all parts of the view, and Enter in the field of epochs.
   * @param {KeyboardEvent} event @param {Element} target @param {string} name @returns {boolean} whether it was one */
  keyAnywhere(event, target, name) {
    if (target === this.dashboard?.epochs && name === "Enter") {
      this.startRun();
      return true;
    }
    const found = actionOf(name);
    if (!found?.everywhere) return false;
    if (isTextField(target)) {
      if (!UNDOING.includes(found.id)) return false;
      this.fields.step(target, found.id === "undo" ? "undo" : "redo");
      return true;
    }
    if (event.repeat && !REPEATED.includes(found.id)) return true;
    if (this.panel.act(found.id)) return true;
    if (this.dashboard) this.dashboard.press(found.id);
    else if (!this.dead) this.panel.setNote("There is no run yet: a Trainer has one, or a loop with fv.steps.", "info");
    return true;
  }

  /** A message that waits long means a busy kernel, or one that is gone without a word. */
  watch() {
    this.banner(
      "silent",
      this.talk.silent ? "No answer from the kernel yet" : null,
      "A running cell keeps it busy: what you clicked is applied when it is free. If the kernel was restarted, run the cell again.",
    );
  }

  /** @param {string} name @param {string | null} title @param {string} text @param {HTMLElement | null} [action] */
  banner(name, title, text, action = null) {
    setBanner(this.banners, name, title, text, action);
  }
}
