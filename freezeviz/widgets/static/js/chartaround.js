// @ts-check
/** What stands around a stack of plots: labels of changes above, lanes of what was frozen below.
 *
 * @typedef {import("./charts.js").Picture} Picture
 * @typedef {{picture: Picture, place: (x: number) => number, widthOf: (text: string) => number, gutter: number,
 *   pixels: number}} Around place: pixels from the left end of the axes, which are `pixels` wide
 */
import { markColor } from "./colors.js";
import { make } from "./dom.js";
import { lanes, merged, placeLabels, placeName } from "./marks.js";

export const LABEL_ROW = 15;
export const LANE_ROW = 16;
const MOST_LANES = 4;

/** Labels of changes above the panels, each with its line. @param {HTMLElement} element @param {Around} around
 * @returns {number} rows */
export function showLabels(element, around) {
  const { picture, pixels, gutter } = around;
  const spots = picture.marks.marks
    .map((mark) => ({ x: around.place(picture.axis.at(mark.step)), mark }))
    .filter(({ x }) => x >= -0.5 && x <= pixels + 0.5);
  const placed = placeLabels(spots, pixels, around.widthOf, 3);
  const rows = placed.reduce((most, label) => Math.max(most, label.row + 1), 0);
  element.style.height = `${rows * LABEL_ROW}px`;
  const nodes = [];
  for (const label of placed) {
    const color = markColor(picture.palette, label.kind);
    const line = make("span", "fz-markline");
    line.style.left = `${gutter + label.x - 0.7}px`;
    line.style.height = `${label.row * LABEL_ROW + 12}px`;
    line.style.borderLeft = `1.4px ${label.kind === "unfreeze" ? "dashed" : "solid"} ${color}`;
    const text = make("span", "fz-marktext", label.text, { title: label.title });
    text.style.left = `${gutter + label.left}px`;
    text.style.bottom = `${label.row * LABEL_ROW}px`;
    nodes.push(line, text);
  }
  element.replaceChildren(...nodes);
  return rows;
}

/** A lane below the panels for each group of what was frozen. @param {HTMLElement} element @param {Around} around
 * @returns {number} rows */
export function showLanes(element, around) {
  const { picture, pixels, gutter } = around;
  const found = lanes(picture.marks, picture.last, MOST_LANES);
  const nodes = found.map((lane, i) => {
    const row = make("div", "fz-lane", undefined, { title: `Frozen: ${lane.title}` });
    const caption = make("span", "fz-lanecaption", i === 0 ? "frozen" : "");
    caption.style.width = `${gutter - 6}px`;
    const track = make("div", "fz-track");
    track.style.left = `${gutter}px`;
    track.style.width = `${pixels}px`;
    /** @type {{left: number, right: number}[]} */ const bars = [];
    for (const [start, end] of lane.spans) {
      const left = Math.max(0, around.place(picture.axis.at(start)));
      const right = Math.min(pixels, around.place(picture.axis.at(end)));
      if (right <= 0 || left >= pixels || right <= left) continue;
      const bar = make("span", "fz-bar", undefined, { "data-span": `${start}-${end}` });
      bar.style.left = `${left}px`;
      bar.style.width = `${right - left}px`;
      bar.style.background = picture.palette.lane;
      if (picture.mode === "contrast") bar.style.border = "1px solid CanvasText";
      track.append(bar);
      bars.push({ left, right });
    }
    const place = bars.length ? placeName(merged(bars), pixels, Math.ceil(around.widthOf(lane.label))) : null;
    if (place) {
      const name = make("span", "fz-lanename", lane.label); // last: over all bars
      name.style.left = `${place.left}px`;
      name.style.maxWidth = `${place.room}px`;
      name.style.color = place.inside ? picture.palette.laneText : picture.palette.text;
      track.append(name);
    }
    row.append(caption, track);
    return row;
  });
  element.replaceChildren(...nodes);
  element.hidden = !nodes.length;
  return nodes.length;
}
