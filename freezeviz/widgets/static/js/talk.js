// @ts-check
/** One view's talk with the kernel: numbered messages, clicks that go together, questions and answers.
 *
 * A message that is not answered for long means a busy kernel, or one that is gone without a word. What comes
 * twice, too late or for another view is ignored: a view believes traits, and the answer to its last question.
 * @typedef {import("./wire.js").Model} Model
 * @typedef {{id: number, path: string, t: number}} Click
 * @typedef {(answer: any, buffers: DataView[]) => void} Answered
 */

const SILENT_AFTER_MS = 4000;
const TOGETHER_MS = 25; // clicks that come faster than anybody clicks go in one message

export class Talk {
  /** @param {Model} model @param {{answered: (row: number) => void, broken: () => void}} hear */
  constructor(model, hear) {
    this.model = model;
    this.hear = hear;
    this.id = Math.random().toString(36).slice(2);
    this.seq = 0;
    this.dead = false;
    /** Unanswered messages.
     * @type {Map<number, {type: string, time: number, rows: number[], about: string}>} */ this.sent = new Map();
    /** The last question of each kind. @type {Map<string, {seq: number, answered: Answered}>} */ this.questions =
      new Map();
    /** Clicks that are not sent yet. @type {Click[]} */ this.clicks = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.collecting = undefined;
  }

  /** @param {string} type @param {object} rest */
  send(type, rest = {}) {
    if (this.dead) return;
    this.sendClicks(); // what was done first comes first
    this.post(type, rest);
  }

  /** @param {string} type @param {object} rest @param {number[]} [rows] @param {string} [about] */
  post(type, rest, rows = [], about = "") {
    const seq = ++this.seq;
    this.sent.set(seq, { type, time: performance.now(), rows, about });
    try {
      this.model.send({ type, view: this.id, seq, ...rest });
    } catch {
      this.hear.broken(); // the connection was closed under us
    }
    return seq;
  }

  /** Ask something; only the answer to the last question of a kind is passed on.
   * @param {string} about @param {object} rest @param {Answered} answered */
  ask(about, rest, answered) {
    if (this.dead) return false;
    this.sendClicks();
    // Before posting: a stub, or a kernel in the page, may answer at once.
    this.questions.set(about, { seq: this.seq + 1, answered });
    this.post("ask", { about, ...rest }, [], about);
    return !this.dead;
  }

  /** The answer of this kind is not wanted any more. @param {string} about */
  forget(about) {
    this.questions.delete(about);
  }

  /** The first click goes at once; those that follow within moments together: a message costs a busy kernel
   * some milliseconds, however many clicks are in it. */
  sendClicks() {
    clearTimeout(this.collecting);
    this.collecting = undefined;
    if (this.dead || !this.clicks.length) return;
    const clicks = this.clicks.splice(0);
    this.post(
      "toggle",
      { clicks },
      clicks.map((click) => click.id),
    );
    this.collecting = setTimeout(() => this.sendClicks(), TOGETHER_MS);
  }

  /** @param {number} id @param {string} path */
  click(id, path) {
    this.clicks.push({ id, path, t: performance.timeOrigin + performance.now() });
    if (this.collecting === undefined) this.sendClicks();
  }

  /** Whether a message of the kernel is for this view and one that it can follow. @param {any} message */
  isMine(message) {
    return (
      message?.view === this.id &&
      Number.isInteger(message.seq) &&
      message.seq >= 1 &&
      message.seq <= this.seq
    );
  }

  /** @param {any} message @param {DataView[]} buffers */
  received(message, buffers) {
    if (message.type === "ack") this.acknowledged(message.seq);
    else if (message.type === "answer") this.answer(message, buffers);
  }

  /** @param {number} upTo */
  acknowledged(upTo) {
    const answered = new Set();
    const waiting = new Set(this.clicks.map((click) => click.id));
    for (const [seq, { rows, about }] of this.sent) {
      for (const row of rows) (seq > upTo ? waiting : answered).add(row);
      if (seq <= upTo && !about) this.sent.delete(seq);
    }
    for (const row of answered) if (!waiting.has(row)) this.hear.answered(row);
  }

  /** @param {any} message @param {DataView[]} buffers */
  answer(message, buffers) {
    const { about } = message;
    for (const [seq, sent] of this.sent)
      if (sent.about === about && seq <= message.seq) this.sent.delete(seq);
    const question = this.questions.get(about);
    if (!question || question.seq !== message.seq) return;
    this.questions.delete(about);
    question.answered(message, buffers ?? []);
  }

  /** Whether a message of a type is not answered yet. @param {string} type */
  waitsFor(type) {
    return [...this.sent.values()].some((message) => message.type === type);
  }

  /** Rows of clicks on their way are no longer these rows: the structure changed. */
  forgetRows() {
    this.sent.forEach((message) => {
      message.rows = [];
    });
  }

  /** Nothing that was sent will be answered. */
  reset() {
    this.sent.clear();
    this.questions.clear();
    this.clicks = [];
  }

  /** Whether something waits for an answer for long. */
  get silent() {
    const oldest = this.sent.values().next().value;
    return !this.dead && oldest !== undefined && performance.now() - oldest.time > SILENT_AFTER_MS;
  }

  dispose() {
    if (!this.dead) this.send("bye");
    clearTimeout(this.collecting);
  }
}
