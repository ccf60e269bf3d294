// @ts-check
/** Keys on a plot that has the focus: from value to value, nearer and farther.
 * @typedef {import("./plots.js").Plots} Plots
 */

/** @param {Plots} plots @param {KeyboardEvent} event @returns {boolean} whether the key was for it */
export function plotKey(plots, event) {
  const target = /** @type {Element} */ (event.composedPath()[0]);
  if (target.getAttribute("role") === "tab") return plots.tabKey(event);
  if (target !== plots.charts.element || plots.empty) return false;
  const stops = plots.charts.stops.filter((x) => x >= plots.charts.range[0] && x <= plots.charts.range[1]);
  if (!stops.length) return false;
  const at =
    plots.charts.x === null
      ? -1
      : stops.reduce(
          (best, x, i) =>
            Math.abs(x - /** @type {number} */ (plots.charts.x)) <
            Math.abs(stops[best] - /** @type {number} */ (plots.charts.x))
              ? i
              : best,
          0,
        );
  const far = Math.max(1, Math.round(stops.length / 10));
  const heat = plots.tab === "gradients";
  const rows = plots.heat.labels.length - 1;
  /** @type {Record<string, () => void>} */
  const moves = {
    ArrowRight: () => plots.charts.point(stops[Math.min(stops.length - 1, at + 1)]),
    ArrowLeft: () => plots.charts.point(stops[at < 0 ? stops.length - 1 : Math.max(0, at - 1)]),
    PageDown: () => plots.charts.point(stops[Math.min(stops.length - 1, at + far)]),
    PageUp: () => plots.charts.point(stops[at < 0 ? stops.length - 1 : Math.max(0, at - far)]),
    Home: () => plots.charts.point(stops[0]),
    End: () => plots.charts.point(stops[stops.length - 1]),
    "+": () => plots.zoomBy(0.5),
    "=": () => plots.zoomBy(0.5),
    "-": () => plots.zoomBy(2),
    Escape: () => (plots.zoom ? plots.zoomTo(null) : plots.charts.point(null)),
  };
  if (heat) {
    const x = plots.charts.x ?? stops[stops.length - 1];
    moves.ArrowDown = () => plots.charts.point(x, Math.min(rows, plots.charts.x === null ? 0 : plots.charts.row + 1));
    moves.ArrowUp = () => plots.charts.point(x, Math.max(0, plots.charts.x === null ? rows : plots.charts.row - 1));
  }
  const move = moves[event.key];
  if (!move) return false;
  move();
  return true;
}
