// @ts-check
/** What colours and lines of the plots mean, and which metrics are shown.
 *
 * @typedef {{tab: string, mode: string, shown: string[], names: string[], validated: boolean, kept: boolean,
 *   low: number, high: number}} LegendState
 */
import { PALETTES, cividis } from "./colors.js";
import { make } from "./dom.js";
import { formatMeasure } from "./format.js";

/** @param {LegendState} state @param {(name: string) => void} toggle @returns {HTMLElement[]} */
export function legend(state, toggle) {
  const palette = PALETTES[state.mode];
  if (state.tab === "gradients") return colorBar(state.low, state.high, palette.missing);
  if (state.tab === "cost") {
    const kept = state.kept ? [make("span", "", "kept: for the backward pass")] : [];
    const typical = swatch(palette.level, "typical between two changes", 3);
    return [typical, swatch(palette.pale, "each step", 1), ...kept];
  }
  const nodes = [swatch(palette.training, "training", 2)];
  if (state.validated) nodes.push(swatch(palette.validation, "validation", 2, true));
  if (state.names.length > 1) nodes.push(metricChips(state, toggle));
  return nodes;
}

/** @param {LegendState} state @param {(name: string) => void} toggle */
function metricChips(state, toggle) {
  const chips = make("span", "fz-chips", undefined, { role: "group", "aria-label": "Metrics shown" });
  for (const name of state.names) {
    const chip = make("button", "fz-metricchip", name, {
      type: "button",
      "aria-pressed": state.shown.includes(name) ? "true" : "false",
      title: name,
    });
    chip.addEventListener("click", () => toggle(name));
    chips.append(chip);
  }
  return chips;
}

/** @param {number} low @param {number} high @param {string} missing */
function colorBar(low, high, missing) {
  const bar = make("span", "fz-colorbar", undefined, { "aria-hidden": "true" });
  const stops = Array.from({ length: 17 }, (_, i) => `rgb(${cividis(i / 16).join(",")})`);
  bar.style.background = `linear-gradient(to right, ${stops.join(",")})`;
  const none = make("span", "fz-nogradient", undefined, { "aria-hidden": "true" });
  none.style.background = missing;
  return [
    make("span", "", "gradient norm"),
    make("span", "fz-number", formatMeasure(low)),
    bar,
    make("span", "fz-number", formatMeasure(high)),
    none,
    make("span", "", "none: frozen"),
  ];
}

/** @param {string} color @param {string} text @param {number} width @param {boolean} [dots] */
function swatch(color, text, width, dots = false) {
  const item = make("span", "fz-legend");
  const line = make("span", dots ? "fz-legendline fz-legenddots" : "fz-legendline", undefined, {
    "aria-hidden": "true",
  });
  line.style.borderTop = `${width}px solid ${color}`;
  line.style.color = color;
  item.append(line, make("span", "", text));
  return item;
}
