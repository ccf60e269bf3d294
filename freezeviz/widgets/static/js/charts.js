// @ts-check
/** A stack of plots over one axis, drawn by uPlot, with labels above and lanes below.
 *
 * @typedef {import("./curves.js").Values} Values
 * @typedef {import("./curves.js").Axis} Axis
 * @typedef {import("./marks.js").Marks} Marks
 * @typedef {import("./colors.js").Palette} Palette
 * @typedef {{label: string, color: string, width: number, dots?: boolean, hidden?: boolean}} Line hidden: told, not drawn
 * @typedef {{low: number, high: number, kind: {log?: boolean, floor?: number, share?: boolean}, top?: number}} Height
 * @typedef {{labels: string[], edges: number[], paint: (ctx: CanvasRenderingContext2D,
 *   place: (column: number, row: number) => [number, number, number, number]) => void}} Cells
 * @typedef {{key: string, title: string, share: number, x: number[], columns: Values[], lines: Line[],
 *   height?: Height["kind"], top?: number, tick: (value: number) => string, bad?: [number, number][],
 *   levels?: {x0: number, x1: number, value: number, text: string}[], cells?: Cells}} Panel
 * @typedef {{axis: Axis, full: [number, number], zoom: [number, number] | null, panels: Panel[], marks: Marks,
 *   last: number, palette: Palette, mode: string}} Picture
 * @typedef {{hovered: (x: number | null, row: number) => void, zoomed: (range: [number, number] | null) => void}} Hear
 */
import { LABEL_ROW, LANE_ROW, showLabels, showLanes } from "./chartaround.js";
import { drawBehind, drawMarks, drawOver } from "./chartdraw.js";
import { logTicks, nearest, verticalRange } from "./curves.js";
import { make } from "./dom.js";
import { endOf, startOf } from "./marks.js";
import uPlot from "../vendor/uplot/uPlot.esm.js";

const AXIS_ROOM = 36; // ticks and their label
const RIGHT = 24; // room for half of the last number on the axis
const GUTTER = 70; // a title and numbers as long as "999 MB"
const LEAST_PANEL = 64;
const FONT = '11px system-ui, -apple-system, "Segoe UI", sans-serif';

export class Charts {
  /** @param {Hear} hear */
  constructor(hear) {
    this.hear = hear;
    this.element = make("div", "fz-charts");
    this.stack = make("div", "fz-stack");
    this.labels = make("div", "fz-marks", undefined, { "aria-hidden": "true" });
    this.panels = make("div", "fz-panels", undefined, { "aria-hidden": "true" });
    this.lanes = make("div", "fz-lanes", undefined, { "aria-hidden": "true" });
    this.stack.append(this.labels, this.panels, this.lanes);
    this.element.append(this.stack);
    /** @type {any[]} */ this.plots = [];
    /** @type {Picture | null} */ this.picture = null;
    this.shape = "";
    this.quiet = false; // what happens is our own doing
    /** @type {number | null} */ this.x = null;
    this.row = 0;
    this.measure = /** @type {CanvasRenderingContext2D} */ (
      /** @type {HTMLCanvasElement} */ (make("canvas")).getContext("2d")
    );
    this.measure.font = FONT;
  }

  dispose() {
    for (const plot of this.plots) plot.destroy();
    this.plots = [];
  }

  /** What is shown of the axis. @returns {[number, number]} */
  get range() {
    return this.picture?.zoom ?? this.picture?.full ?? [0, 1];
  }

  get room() {
    const width = this.element.clientWidth;
    return { width, plot: Math.max(1, width - this.gutter - RIGHT), height: this.element.clientHeight };
  }

  get gutter() {
    const cells = this.picture?.panels[0]?.cells;
    if (!cells) return GUTTER;
    const widest = Math.max(0, ...cells.labels.map((label) => this.measure.measureText(label).width));
    return Math.min(Math.max(GUTTER, Math.ceil(widest) + 12), Math.floor(0.4 * this.element.clientWidth));
  }

  /** @param {number} x */
  place(x) {
    const [low, high] = this.range;
    return ((x - low) / (high - low)) * this.room.plot;
  }

  get around() {
    return {
      picture: /** @type {Picture} */ (this.picture),
      place: (/** @type {number} */ x) => this.place(x),
      widthOf: (/** @type {string} */ text) => this.measure.measureText(text).width,
      gutter: this.gutter,
      pixels: this.room.plot,
    };
  }

  /** @param {Picture} picture */
  show(picture) {
    this.picture = picture;
    if (!this.element.clientWidth) return; // out of sight: `resized` comes when it is seen
    const { axis, panels, mode, palette } = picture;
    const { width } = this.room;
    const rows = showLabels(this.labels, this.around);
    const laneCount = showLanes(this.lanes, this.around);
    const free = this.element.clientHeight - rows * LABEL_ROW - AXIS_ROOM - laneCount * LANE_ROW - (laneCount ? 6 : 0);
    const total = Math.max(free, panels.length * LEAST_PANEL);
    const heights = panels.map((panel) => Math.floor(panel.share * total));
    const shape = JSON.stringify([
      axis.name,
      mode,
      this.gutter,
      panels.map((p) => [
        p.key,
        p.title,
        p.lines.map((l) => [l.label, l.color, l.dots, l.hidden]),
        p.height,
        p.top,
        p.cells?.labels,
      ]),
    ]);
    this.quiet = true;
    if (shape !== this.shape || !this.plots.length) {
      this.dispose();
      this.shape = shape;
      this.panels.replaceChildren();
      this.plots = panels.map((panel, i) => this.make(panel, i, palette));
    }
    const [min, max] = this.range;
    panels.forEach((panel, i) => {
      const plot = this.plots[i];
      const height = heights[i] + (i === panels.length - 1 ? AXIS_ROOM : 0);
      if (plot.width !== width || plot.height !== height) plot.setSize({ width, height });
      plot.batch(() => {
        plot.setData([panel.x, ...panel.columns], false);
        plot.setScale("x", { min, max });
      });
    });
    this.quiet = false;
    if (this.x !== null) this.point(this.x, this.row);
  }

  resized() {
    if (this.picture) this.show(this.picture);
  }

  /** Point at a place: with the mouse, or by keys. @param {number | null} x @param {number} [row] */
  point(x, row = this.row) {
    this.x = x;
    this.row = row;
    this.quiet = true;
    for (const plot of this.plots) {
      const left = x === null ? -10 : plot.valToPos(x, "x");
      const cells = this.picture?.panels[0]?.cells;
      const top = x === null ? -10 : cells ? plot.valToPos(cells.labels.length - row - 0.5, "y") : 0;
      plot.setCursor({ left, top }, false);
    }
    this.quiet = false;
    this.hear.hovered(x, row);
  }

  // ---- one panel

  /** @param {Panel} panel @param {number} index @param {Palette} palette */
  make(panel, index, palette) {
    const lowest = index === (this.picture?.panels.length ?? 0) - 1;
    const current = () => this.picture?.panels[index] ?? panel;
    const { cells } = panel;
    const options = {
      width: Math.max(50, this.room.width),
      height: 100,
      padding: [index ? 7 : 6, RIGHT, lowest ? 0 : 4, 0],
      legend: { show: false },
      scales: {
        x: { time: false, range: () => this.range },
        y: cells
          ? { range: () => [0, current().cells?.labels.length || 1] }
          : {
              distr: panel.height?.log ? 3 : 1,
              range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) =>
                panel.top !== undefined ? [0, current().top] : verticalRange(low, high, panel.height),
            },
      },
      axes: [
        {
          show: lowest,
          stroke: palette.text,
          font: FONT,
          label: this.picture?.axis.label,
          labelFont: FONT,
          labelSize: 14,
          labelGap: 0,
          size: 22,
          gap: 3,
          space: 64,
          incrs: this.picture?.axis.name === "step" ? WHOLE : undefined,
          grid: { show: false },
          ticks: { stroke: palette.axis, size: 4, width: 1 },
          border: { show: true, stroke: palette.axis, width: 1 },
          values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map(tickText),
        },
        {
          stroke: palette.text,
          font: FONT,
          label: cells ? undefined : (/** @type {any} */ plot) => this.titleFor(plot, panel.title),
          labelFont: FONT,
          labelSize: cells ? 0 : 16,
          labelGap: 0,
          size: cells ? this.gutter : GUTTER - 16,
          gap: 3,
          space: cells ? 1 : 26,
          grid: { show: !cells, stroke: palette.grid, width: 1 },
          ticks: { show: !cells, stroke: palette.axis, size: 4, width: 1 },
          border: { show: true, stroke: palette.axis, width: 1 },
          ...(cells
            ? {
                splits: () => this.rowsNamed(index),
                values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map((y) => this.rowName(y)),
              }
            : {
                ...(panel.height?.log && {
                  splits: (
                    /** @type {any} */ plot,
                    /** @type {number} */ _,
                    /** @type {number} */ low,
                    /** @type {number} */ high,
                  ) => logTicks(low, high, plot.height / 26),
                  filter: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits,
                }),
                values: (/** @type {any} */ _, /** @type {(number | null)[]} */ splits) =>
                  splits.map((value) => (value === null ? "" : current().tick(value))),
              }),
        },
      ],
      series: [
        {},
        ...panel.lines.map((line) => ({
          label: line.label,
          stroke: line.hidden ? undefined : line.color,
          width: line.hidden ? 0 : line.width,
          points: line.dots ? { show: true, size: 6, width: 1, fill: line.color, stroke: line.color } : { show: false },
        })),
      ],
      cursor: {
        drag: { x: true, y: false, setScale: false, dist: 6 },
        y: Boolean(cells),
        points: cells ? { show: false } : { size: 7 },
        bind: { dblclick: () => () => this.hear.zoomed(null) },
      },
      hooks: {
        setCursor: [(/** @type {any} */ plot) => this.moved(plot)],
        setSelect: [(/** @type {any} */ plot) => this.selected(plot)],
        drawClear: [(/** @type {any} */ plot) => this.picture && drawBehind(plot, this.picture, current())],
        drawAxes: [(/** @type {any} */ plot) => this.picture && drawMarks(plot, this.picture, Boolean(cells))],
        draw: [(/** @type {any} */ plot) => this.picture && drawOver(plot, this.picture, current(), FONT)],
      },
    };
    return new /** @type {any} */ (uPlot)(options, [panel.x, ...panel.columns], this.panels);
  }

  /** @param {any} plot */
  moved(plot) {
    if (this.quiet) return;
    const { left, top } = plot.cursor;
    const cells = this.picture?.panels[0]?.cells;
    if (left === undefined || left < 0) return this.point(null);
    const row = cells ? Math.floor(cells.labels.length - plot.posToVal(top, "y")) : 0;
    this.point(plot.posToVal(left, "x"), cells ? Math.max(0, Math.min(cells.labels.length - 1, row)) : 0);
  }

  /** @param {any} plot */
  selected(plot) {
    if (this.quiet || plot.select.width < 6) return;
    const { left, width } = plot.select;
    const range = /** @type {[number, number]} */ ([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.hear.zoomed(range);
  }

  /** A title that stands upright beside its panel, cut where it would run into the next one. @param {any} plot
   * @param {string} title */
  titleFor(plot, title) {
    const room = plot.bbox.height / uPlot.pxRatio + 6;
    return startOf(title, (text) => this.measure.measureText(text).width <= room);
  }

  // ---- names of a heat map's rows

  /** Heights of the rows that are named: every one, or every second or fifth. @param {number} index */
  rowsNamed(index) {
    const labels = this.picture?.panels[index]?.cells?.labels ?? [];
    const high = this.plots[index] ? this.plots[index].bbox.height / uPlot.pxRatio : 200;
    const every = Math.max(1, Math.ceil((13 * labels.length) / Math.max(high, 1)));
    const rows = [];
    for (let row = 0; row < labels.length; row += every) rows.push(labels.length - row - 0.5);
    return rows.reverse();
  }

  /** The name of the row at a height, cut so that it fits: its end tells more. @param {number} y */
  rowName(y) {
    const labels = this.picture?.panels[0]?.cells?.labels ?? [];
    const room = this.gutter - 8;
    return endOf(
      labels[Math.round(labels.length - y - 0.5)] ?? "",
      (text) => this.measure.measureText(text).width <= room,
    );
  }

  // ---- what is where

  /** The values at a place: of each line the nearest. @param {number} x */
  valuesAt(x) {
    /** @type {{panel: Panel, line: Line, x: number, value: number}[]} */ const found = [];
    for (const panel of this.picture?.panels ?? [])
      panel.lines.forEach((line, i) => {
        const index = nearest(panel.x, panel.columns[i], x);
        if (index >= 0)
          found.push({ panel, line, x: panel.x[index], value: /** @type {number} */ (panel.columns[i][index]) });
      });
    return found;
  }

  /** Places that keys go to: those of the longest panel. */
  get stops() {
    const panels = this.picture?.panels ?? [];
    return panels.reduce(
      (most, panel) => (panel.x.length > most.length ? panel.x : most),
      /** @type {number[]} */ ([]),
    );
  }
}

const WHOLE = [0, 1, 2, 3, 4, 5, 6, 7, 8].flatMap((power) => [1, 2, 5].map((n) => n * 10 ** power)); // steps between ticks

/** A number on an axis. @param {number | null} value */
export function tickText(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e7 || size < 1e-4)) return value.toExponential().replace("e+", "e");
  if (size >= 1000) return value.toLocaleString("en-US", { maximumFractionDigits: 1 });
  return String(Number(value.toPrecision(6)));
}
