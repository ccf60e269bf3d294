// @ts-check
/** What uPlot does not draw by itself, in the pixels of its canvas.
 *
 * @typedef {import("./charts.js").Panel} Panel
 * @typedef {import("./charts.js").Picture} Picture
 * @typedef {import("./colors.js").Palette} Palette
 */
import { markColor } from "./colors.js";
import { placeTexts, shades } from "./marks.js";
import uPlot from "../vendor/uplot/uPlot.esm.js";

/** What lies below the curves: shades where something was frozen, or the cells of a heat map. @param {any} plot
 * @param {Picture} picture @param {Panel} panel */
export function drawBehind(plot, picture, panel) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  if (panel.cells) {
    const { labels, edges } = panel.cells;
    const high = bbox.height / labels.length;
    panel.cells.paint(ctx, (column, row) => {
      const left = plot.valToPos(edges[column], "x", true);
      const right = plot.valToPos(edges[column + 1], "x", true);
      // Whole pixels, or the seams between the cells would shine through.
      const [x0, x1] = [Math.round(left), Math.round(right)];
      const [y0, y1] = [Math.round(bbox.top + row * high), Math.round(bbox.top + (row + 1) * high)];
      return [x0, y0, x1 - x0, y1 - y0];
    });
  } else {
    const { band, bandLow, bandHigh } = picture.palette;
    for (const { start, end, share } of shades(picture.marks, picture.last)) {
      const left = plot.valToPos(picture.axis.at(start), "x", true);
      const right = plot.valToPos(picture.axis.at(end), "x", true);
      ctx.fillStyle = `rgba(${band.join(",")},${bandLow + (bandHigh - bandLow) * share})`;
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
  }
  ctx.restore();
}

/** A line for every change. @param {any} plot @param {Picture} picture
 * @param {boolean} halo over colours of any kind a line needs an edge */
export function drawMarks(plot, picture, halo) {
  const { ctx, bbox } = plot;
  const ratio = uPlot.pxRatio;
  const drawn = new Set();
  ctx.save();
  for (const mark of picture.marks.marks) {
    const x = Math.round(plot.valToPos(picture.axis.at(mark.step), "x", true));
    // Of those that fall on the same pixel, one.
    if (x < bbox.left || x > bbox.left + bbox.width || drawn.has(`${x}${mark.kind}`)) continue;
    drawn.add(`${x}${mark.kind}`);
    if (halo) {
      ctx.strokeStyle = picture.palette.ground;
      ctx.lineWidth = 4 * ratio;
      ctx.setLineDash([]);
      verticalLine(ctx, x, bbox);
    }
    ctx.strokeStyle = markColor(picture.palette, mark.kind);
    ctx.lineWidth = (picture.marks.marks.length > 12 ? 0.8 : 1.4) * ratio;
    ctx.setLineDash(mark.kind === "unfreeze" ? [5 * ratio, 3 * ratio] : mark.kind === "rate" ? [ratio, 3 * ratio] : []);
    verticalLine(ctx, x, bbox);
  }
  ctx.restore();
}

/** What lies over the curves: where the loss was not finite, and typical times. @param {any} plot
 * @param {Picture} picture @param {Panel} panel @param {string} font */
export function drawOver(plot, picture, panel, font) {
  const { ctx, bbox } = plot;
  const { palette } = picture;
  const ratio = uPlot.pxRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left - 5 * ratio, bbox.top, bbox.width + 10 * ratio, bbox.height);
  ctx.clip();
  ctx.lineWidth = 2 * ratio;
  ctx.strokeStyle = palette.bad;
  const bottom = bbox.top + bbox.height - 6 * ratio;
  for (const [first, last] of panel.bad ?? []) {
    const x0 = plot.valToPos(first, "x", true);
    const x1 = plot.valToPos(last, "x", true);
    const arm = 3.5 * ratio;
    ctx.beginPath();
    ctx.moveTo(x0, bottom);
    ctx.lineTo(x1, bottom);
    ctx.moveTo(x0 - arm, bottom - arm);
    ctx.lineTo(x0 + arm, bottom + arm);
    ctx.moveTo(x0 - arm, bottom + arm);
    ctx.lineTo(x0 + arm, bottom - arm);
    ctx.stroke();
  }
  ctx.font = font.replace("11px", `${11 * ratio}px`);
  if (panel.bad?.length) {
    ctx.fillStyle = palette.bad;
    ctx.textBaseline = "bottom";
    const x = plot.valToPos(panel.bad[0][0], "x", true) + 7 * ratio;
    const text = "not finite";
    const over = x + ctx.measureText(text).width > bbox.left + bbox.width;
    ctx.textAlign = over ? "right" : "left";
    ctx.fillText(text, over ? x - 14 * ratio : x, bottom - 2 * ratio);
  }
  drawLevels(plot, panel, palette);
  ctx.restore();
}

/** A line for each stretch, and its text: the longest stretches first, for as many as there is room.
 * @param {any} plot @param {Panel} panel @param {Palette} palette */
function drawLevels(plot, panel, palette) {
  const { ctx, bbox } = plot;
  const ratio = uPlot.pxRatio;
  const texts = [];
  for (const { x0, x1, value, text } of panel.levels ?? []) {
    const left = Math.max(plot.valToPos(x0, "x", true), bbox.left);
    const right = Math.min(plot.valToPos(x1, "x", true), bbox.left + bbox.width);
    if (right <= left) continue;
    const y = Math.max(plot.valToPos(value, "y", true), bbox.top + ratio);
    ctx.strokeStyle = palette.level;
    ctx.lineWidth = 2.4 * ratio;
    ctx.setLineDash([]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(right, y);
    ctx.stroke();
    texts.push({ left, right, width: ctx.measureText(text).width, y, text });
  }
  const places = placeTexts(texts, bbox.left, bbox.left + bbox.width, 5 * ratio);
  for (const [i, { y, text }] of texts.entries()) {
    const at = places[i];
    if (at === null) continue; // the table says it
    ctx.textAlign = "left";
    const above = y - 16 * ratio > bbox.top;
    ctx.textBaseline = above ? "bottom" : "top";
    ctx.strokeStyle = palette.ground;
    ctx.lineWidth = 3 * ratio;
    ctx.lineJoin = "round";
    ctx.strokeText(text, at, above ? y - 3 * ratio : y + 4 * ratio);
    ctx.fillStyle = palette.text;
    ctx.fillText(text, at, above ? y - 3 * ratio : y + 4 * ratio);
  }
}

/** @param {CanvasRenderingContext2D} ctx @param {number} x @param {{top: number, height: number}} box */
function verticalLine(ctx, x, box) {
  ctx.beginPath();
  ctx.moveTo(x, box.top);
  ctx.lineTo(x, box.top + box.height);
  ctx.stroke();
}
