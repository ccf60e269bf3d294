// @ts-check
/** Colours of plots. Pure but for `modeOf`.
 *
 * @typedef {{training: string, pale: string, validation: string, freeze: string, unfreeze: string, other: string,
 *   band: [number, number, number], bandLow: number, bandHigh: number, lane: string, laneText: string, grid: string,
 *   axis: string, text: string, bad: string, level: string, missing: string, ground: string}} Palette
 */

/** matplotlib's cividis, which people with and without colour-blindness see alike: 33 stops, dark to light. */
const CIVIDIS = [
  0x00224e, 0x00285b, 0x002e6a, 0x053371, 0x1a386f, 0x273e6e, 0x32436d, 0x3b496c, 0x434e6c, 0x4b546c, 0x535a6d,
  0x5a5f6e, 0x61656f, 0x686a71, 0x6f7073, 0x767676, 0x7d7c78, 0x848279, 0x8c8878, 0x938e78, 0x9b9476, 0xa39a74,
  0xaba072, 0xb4a76f, 0xbcae6c, 0xc4b468, 0xcdbb63, 0xd5c25e, 0xdec958, 0xe7d150, 0xf0d846, 0xf9e03a, 0xfee838,
];

/** Light and dark by Okabe and Ito's palette, or near it where the ground needs more contrast; "contrast" for those
 * who chose their own colours: the browser fills in the names. @type {Record<string, Palette>} */
export const PALETTES = {
  light: {
    training: "#0072b2",
    pale: "#8cc4e8",
    validation: "#d55e00",
    freeze: "#0b5394",
    unfreeze: "#9a5b00",
    other: "#57606a",
    band: [86, 180, 233],
    bandLow: 0.1,
    bandHigh: 0.26,
    lane: "#a9d6f3",
    laneText: "#10263a",
    grid: "#e4e7eb",
    axis: "#6b7480",
    text: "#1f2328",
    bad: "#a4141c",
    level: "#0072b2",
    missing: "#e6e8eb",
    ground: "#ffffff",
  },
  dark: {
    training: "#6cc1f7",
    pale: "#2f6a92",
    validation: "#ff9f4d",
    freeze: "#9ccdff",
    unfreeze: "#f3cc80",
    other: "#a5adb8",
    band: [86, 180, 233],
    bandLow: 0.09,
    bandHigh: 0.22,
    lane: "#1d5a86",
    laneText: "#eaf5ff",
    grid: "#333b45",
    axis: "#8b95a1",
    text: "#e6edf3",
    bad: "#ffb3b0",
    level: "#6cc1f7",
    missing: "#3a414b",
    ground: "#1c2026",
  },
  contrast: {
    training: "CanvasText",
    pale: "GrayText",
    validation: "Highlight",
    freeze: "CanvasText",
    unfreeze: "CanvasText",
    other: "GrayText",
    band: [128, 128, 128],
    bandLow: 0.15,
    bandHigh: 0.35,
    lane: "Canvas",
    laneText: "CanvasText",
    grid: "GrayText",
    axis: "CanvasText",
    text: "CanvasText",
    bad: "Highlight",
    level: "CanvasText",
    missing: "Canvas",
    ground: "Canvas",
  },
};

/** The colour of a share of the scale, as [red, green, blue]. @param {number} share
 * @returns {[number, number, number]} */
export function cividis(share) {
  const at = Math.max(0, Math.min(1, share)) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  const part = at - low;
  const mixed = [16, 8, 0].map((shift) => {
    const a = (CIVIDIS[low] >> shift) & 255;
    const b = (CIVIDIS[low + 1] >> shift) & 255;
    return Math.round(a + part * (b - a));
  });
  return /** @type {[number, number, number]} */ (mixed);
}

/** Where a positive number lies between two others, by its logarithm. @param {number} value @param {number} low
 * @param {number} high */
export function logShare(value, low, high) {
  if (!(value > 0)) return 0;
  return Math.max(0, Math.min(1, Math.log(value / low) / Math.log(high / low)));
}

/** Which palette an element needs: its theme's, unless its reader chose colours for everything.
 * @param {Element} element @returns {"light" | "dark" | "contrast"} */
export function modeOf(element) {
  if (window.matchMedia("(forced-colors: active)").matches) return "contrast";
  return getComputedStyle(element).colorScheme.startsWith("dark") ? "dark" : "light";
}

/** Of the line and label of a change. @param {Palette} palette @param {string} kind */
export function markColor(palette, kind) {
  return kind === "freeze" ? palette.freeze : kind === "unfreeze" ? palette.unfreeze : palette.other;
}
