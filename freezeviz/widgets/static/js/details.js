// @ts-check
/** The pane for one row: its parameters with numbers and a histogram, its text and where its code stands.
 * @typedef {{path: string, shape: number[], dtype: string, device: string, minimum: number | null,
 *   mean: number | null, maximum: number | null, nonfinite: number, frozen: boolean | null, aliases: string[],
 *   histogram: {counts: number[], edges: number[], sampled: boolean} | null, problem: string}} Numbered
 * @typedef {{path: string, kind: string, doc: string, source: string, parameters: Numbered[],
 *   buffers: Numbered[], left_out: number}} Details
 */
import { make, makeSvg, reachable, setText } from "./dom.js";
import { counted, formatMeasure, nameOf } from "./format.js";

const DETAILS_AFTER_MS = 120; // for the next row, while somebody walks through the tree
const LOADING_AFTER_MS = 200;
const HISTOGRAM_WIDTH = 132;
const HISTOGRAM_HEIGHT = 30;

/** The bars of a histogram as one SVG path. @param {number[]} counts @param {number} width @param {number} height */
export function histogramPath(counts, width, height) {
  const most = Math.max(...counts, 0);
  if (!most) return "";
  const step = width / counts.length;
  return counts
    .map((count, k) => {
      if (!count) return "";
      const high = Math.max(1, (count / most) * height); // something is not nothing
      const x = (k * step).toFixed(2);
      return `M${x} ${height}v${(-high).toFixed(2)}h${Math.max(step - 0.5, 0.5).toFixed(2)}v${high.toFixed(2)}z`;
    })
    .join("");
}

/** @param {number | null} value */
function number(value) {
  return value === null ? "–" : formatMeasure(value);
}

export class DetailsPane {
  /** @param {(path: string, answered: (answer: any) => void) => boolean} ask */
  constructor(ask) {
    this.ask = ask;
    this.element = make("section", "fz-panel fz-details", undefined, { "aria-label": "Details" });
    this.title = make("h3", "fz-details-title", "");
    this.close = make("button", "fz-button fz-quiet", "Close", { type: "button", "data-action": "details" });
    const head = make("div", "fz-details-head");
    head.append(this.title, this.close);
    this.content = make("div", "fz-details-content");
    this.element.append(head, this.content);
    this.element.hidden = true;
    this.path = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ this.loading = undefined;
  }

  get isOpen() {
    return !this.element.hidden;
  }

  /** Show a row, soon. @param {string} path @param {boolean} [now] */
  show(path, now = false) {
    this.path = path;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), now ? 0 : DETAILS_AFTER_MS);
  }

  load() {
    const { path } = this;
    setText(this.title, nameOf(path));
    clearTimeout(this.loading);
    this.loading = setTimeout(() => this.say("Looking at it …"), LOADING_AFTER_MS);
    const asked = this.ask(path, (answer) => {
      clearTimeout(this.loading);
      if (answer.error) this.say(answer.error, "error");
      else this.fill(answer.details);
    });
    if (!asked) {
      clearTimeout(this.loading);
      this.say("The kernel is gone: details come from it.");
    }
  }

  /** @param {string} text @param {string} [level] */
  say(text, level = "info") {
    this.content.replaceChildren(make("p", "fz-soft", text, { role: "status", "data-level": level }));
  }

  /** @param {Details} details */
  fill(details) {
    const parts = [];
    const line = make("p", "fz-details-line");
    line.append(make("strong", "", details.kind));
    if (details.source) line.append(make("span", "fz-soft fz-mono", details.source));
    parts.push(line);
    if (details.doc) {
      const doc = make("div", "fz-doc", details.doc);
      reachable(doc, "Documentation");
      parts.push(doc);
    }
    const arrays = [
      ...details.parameters.map((p) => this.array(p, "parameter")),
      ...details.buffers.map((b) => this.array(b, "buffer")),
    ];
    if (arrays.length) {
      const table = make("table", "fz-arrays");
      const head = make("tr", "");
      for (const title of ["Name", "Shape", "Min", "Mean", "Max", "Values"])
        head.append(make("th", "", title, { scope: "col" }));
      const top = make("thead", "");
      top.append(head);
      const body = make("tbody", "");
      body.append(...arrays);
      table.append(make("caption", "fz-unseen", "Parameters and buffers"), top, body);
      // A scrolled region must be reachable by keyboard.
      const box = make("div", "fz-arrays-box", undefined, {
        tabindex: "0",
        role: "group",
        "aria-label": "Parameters and buffers",
      });
      box.append(table);
      parts.push(box);
    } else parts.push(make("p", "fz-soft", "No parameters and no buffers of its own."));
    if (details.left_out)
      parts.push(
        make("p", "fz-soft", `${counted(details.left_out, "more array")} below; choose a row further in.`),
      );
    this.content.replaceChildren(...parts);
  }

  /** @param {Numbered} array @param {string} what */
  array(array, what) {
    const row = make("tr", "");
    const name = make("th", "fz-mono", undefined, {
      scope: "row",
      title: [array.path, ...array.aliases].join("\n"),
    });
    const prefix = this.path ? `${this.path}.` : "";
    name.append(
      make("bdi", "", array.path.startsWith(prefix) ? array.path.slice(prefix.length) : array.path),
    );
    if (what === "buffer") name.append(make("span", "fz-badge", "buffer"));
    else if (array.frozen) name.append(make("span", "fz-badge", "frozen"));
    const shape = make("td", "");
    shape.append(
      make("span", "", array.shape.join(" × ") || "scalar"),
      make("span", "fz-soft", [array.dtype, array.device].filter(Boolean).join(" · ")),
    );
    row.append(name, shape);
    for (const value of [array.minimum, array.mean, array.maximum])
      row.append(make("td", "fz-num", number(value)));
    row.append(this.values(array));
    return row;
  }

  /** @param {Numbered} array */
  values(array) {
    const cell = make("td", "");
    if (array.histogram) {
      const { counts, edges, sampled } = array.histogram;
      const all = counts.reduce((a, b) => a + b, 0);
      const ends = `from ${number(edges[0])} to ${number(edges.at(-1) ?? null)}`;
      const label = `Histogram of ${counted(all, "value")}${sampled ? ", a sample," : ""} ${ends}`;
      const svg = makeSvg("svg", {
        class: "fz-histogram",
        width: String(HISTOGRAM_WIDTH),
        height: String(HISTOGRAM_HEIGHT),
        viewBox: `0 0 ${HISTOGRAM_WIDTH} ${HISTOGRAM_HEIGHT}`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": label,
      });
      svg.append(makeSvg("path", { d: histogramPath(counts, HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT) }));
      cell.append(svg);
      cell.title = label;
    }
    if (array.problem) cell.append(make("span", "fz-soft", array.problem));
    if (array.nonfinite)
      cell.append(make("span", "fz-bad", `${counted(array.nonfinite, "value is", "values are")} not finite`));
    return cell;
  }

  dispose() {
    clearTimeout(this.timer);
    clearTimeout(this.loading);
  }
}
