// @ts-check
/** What was frozen when: labels, shades and lanes over an axis. Pure functions.
 *
 * @typedef {{step: number, kind: string, label: string}} Mark kind: freeze, unfreeze or rate
 * @typedef {{label: string, size: number, spans: [number, number | null][]}} Group
 * @typedef {{marks: Mark[], groups: Group[], parameters: number}} Marks
 * @typedef {{x: number, kind: string, text: string, title: string, row: number, left: number, right: number}} Label
 * @typedef {{label: string, title: string, spans: [number, number][]}} Lane
 */

const MOST_LABELS = 12;
const TOUCHING = 8; // pixels between lines that look like one
const LONGEST = 26; // characters of a label
const NAME_EDGE = 4; // pixels between the name of a lane and the edges of its bar
const LEAST_NAME = 24; // pixels: less of a name says nothing

/** The trait `marks`. @param {any} raw @returns {Marks} */
export function readMarks(raw) {
  return {
    marks: (raw?.marks ?? []).map((/** @type {any[]} */ [step, kind, label]) => ({ step, kind, label })),
    groups: raw?.groups ?? [],
    parameters: raw?.parameters ?? 0,
  };
}

/** How dark the ground is and from where to where: the darker, the larger the share of frozen parameters.
 * @param {Marks} marks @param {number} last @returns {{start: number, end: number, share: number}[]} */
export function shades(marks, last) {
  /** @type {Map<number, number>} */ const change = new Map();
  for (const group of marks.groups)
    for (const [start, end] of group.spans) {
      change.set(start, (change.get(start) ?? 0) + group.size);
      change.set(end ?? last, (change.get(end ?? last) ?? 0) - group.size);
    }
  const moments = [...change.keys()].sort((a, b) => a - b);
  const found = [];
  let frozen = 0;
  for (let i = 0; i + 1 < moments.length; i++) {
    frozen += change.get(moments[i]) ?? 0;
    if (frozen > 0)
      found.push({
        start: moments[i],
        end: moments[i + 1],
        share: Math.min(1, frozen / Math.max(marks.parameters, 1)),
      });
  }
  return found;
}

/** A lane for each group; what does not fit shares the last one. @param {Marks} marks @param {number} last
 * @param {number} most @returns {Lane[]} */
export function lanes(marks, last, most) {
  const all = marks.groups.map(({ label, spans }) => ({
    label,
    title: label,
    spans: spans.map(([start, end]) => /** @type {[number, number]} */ ([start, end ?? last])),
  }));
  if (all.length <= most) return all;
  const rest = all.slice(most - 1);
  return [
    ...all.slice(0, most - 1),
    {
      label: `${rest.length} more`,
      title: rest.map((lane) => lane.label).join("\n"),
      spans: rest.flatMap((lane) => lane.spans),
    },
  ];
}

/** Where texts of given widths stand at the beginnings of their stretches, null for those without room: the longest
 * stretches come first. @param {{left: number, right: number, width: number}[]} stretches @param {number} low
 * @param {number} high @param {number} gap @returns {(number | null)[]} */
export function placeTexts(stretches, low, high, gap) {
  /** @type {(number | null)[]} */ const places = stretches.map(() => null);
  const order = stretches.map((_, i) => i);
  order.sort((a, b) => stretches[b].right - stretches[b].left - (stretches[a].right - stretches[a].left));
  for (const i of order) {
    const { left, width } = stretches[i];
    const at = Math.min(left + gap, high - width);
    const free = places.every(
      (other, k) => other === null || at + width + gap <= other || other + stretches[k].width + gap <= at,
    );
    if (at >= low && free) places[i] = at;
  }
  return places;
}

/** Stretches that touch or overlap as one, in order. @param {{left: number, right: number}[]} bars */
export function merged(bars) {
  /** @type {{left: number, right: number}[]} */ const found = [];
  for (const { left, right } of [...bars].sort((a, b) => a.left - b.left)) {
    const last = found.at(-1);
    if (last && left <= last.right) last.right = Math.max(last.right, right);
    else found.push({ left, right });
  }
  return found;
}

/** Where the name of a lane stands: in a bar that has room for it, else on the ground beside one, else, cut, where the
 * most room is; never across the edge of a bar, where half of it could not be read. Null where there is no room at all.
 * @param {{left: number, right: number}[]} bars that are seen, in order, in pixels from the left end of the axes
 * @param {number} pixels width of the axes @param {number} width of the name
 * @returns {{left: number, room: number, inside: boolean} | null} */
export function placeName(bars, pixels, width) {
  const gaps = [0, ...bars.map((bar) => bar.right)].map((left, k) => ({ left, right: bars[k]?.left ?? pixels }));
  const inside = bars.map((bar) => ({ ...bar, inside: true }));
  const beside = gaps.map((gap) => ({ ...gap, inside: false }));
  const [before, ...after] = beside;
  const roomOf = (/** @type {{left: number, right: number}} */ place) => place.right - place.left - 2 * NAME_EDGE;
  const fits = (/** @type {{left: number, right: number}} */ place) => roomOf(place) >= width;
  const place = inside.find(fits) ?? after.find(fits) ?? [before, ...inside, ...after].find(fits);
  if (place) {
    // Left of the first bar it stands at that bar, not at the beginning of the run.
    const left = place === before ? before.right - NAME_EDGE - width : place.left + NAME_EDGE;
    return { left, room: Math.max(width, roomOf(place)), inside: place.inside };
  }
  const [most] = [...inside, ...beside].sort((a, b) => roomOf(b) - roomOf(a));
  if (roomOf(most) < LEAST_NAME) return null;
  return { left: most.left + NAME_EDGE, room: roomOf(most), inside: most.inside };
}

/** The start of a text that fits: "top m…". @param {string} text @param {(text: string) => boolean} fits */
export function startOf(text, fits) {
  if (fits(text)) return text;
  const letters = [...text];
  while (letters.length > 1 && !fits(`${letters.join("")}…`)) letters.pop();
  return `${letters.join("")}…`;
}

/** The end of a path that fits, cut at a dot where that leaves something: "…layers.0". @param {string} path
 * @param {(text: string) => boolean} fits */
export function endOf(path, fits) {
  if (fits(path)) return path;
  for (let dot = path.indexOf("."); dot >= 0; dot = path.indexOf(".", dot + 1)) {
    const end = `…${path.slice(dot + 1)}`;
    if (dot + 1 < path.length && fits(end)) return end;
  }
  const letters = [...path];
  while (letters.length > 1 && !fits(`…${letters.join("")}`)) letters.shift();
  return `…${letters.join("")}`;
}

/** Keep the verb and the end of the path, which tell labels apart. @param {string} label */
export function shortLabel(label, most = LONGEST) {
  if ([...label].length <= most) return label;
  const space = label.indexOf(" ");
  const verb = space > 0 && space < 12 ? label.slice(0, space + 1) : "";
  return verb + endOf(label.slice(verb.length), (text) => [...text].length <= most - verb.length);
}

/** Labels for marked moments, none of which covers another or is crossed by a line; what has no room is put together
 * with its neighbour: "5 changes".
 * @param {{x: number, mark: Mark}[]} spots with x in pixels from the left end of the axes, in order
 * @param {number} pixels width of the axes @param {(text: string) => number} widthOf a text's width in pixels
 * @param {number} [rows] how many rows of labels there may be @returns {Label[]} */
export function placeLabels(spots, pixels, widthOf, rows = 3) {
  let groups = touching(spots);
  if (groups.length > MOST_LABELS) groups = slotted(groups, pixels);
  for (;;) {
    const { labels, crowded } = attempt(groups, pixels, widthOf, rows);
    if (crowded < 0) return labels;
    mergeWithNearest(groups, crowded);
  }
}

/** @typedef {{x: number, mark: Mark}[]} Cluster */

/** @param {Cluster} spots @returns {Cluster[]} */
function touching(spots) {
  /** @type {Cluster[]} */ const groups = [];
  for (const spot of spots) {
    const last = groups.at(-1);
    if (last && spot.x - last[0].x < TOUCHING) last.push(spot);
    else groups.push([spot]);
  }
  return groups;
}

/** @param {Cluster[]} groups @param {number} pixels */
function slotted(groups, pixels) {
  /** @type {Map<number, Cluster>} */ const slots = new Map();
  for (const group of groups) {
    const slot = Math.max(0, Math.min(MOST_LABELS - 1, Math.floor((group[0].x * MOST_LABELS) / Math.max(pixels, 1))));
    slots.set(slot, [...(slots.get(slot) ?? []), ...group]);
  }
  return [...slots.values()];
}

/** Labels from right to left: one stands right of its line, so it only has to keep clear of what is placed already,
 * and goes above all of it. @param {Cluster[]} groups @param {number} pixels @param {(text: string) => number} widthOf
 * @param {number} rows */
function attempt(groups, pixels, widthOf, rows) {
  /** @type {Label[]} */ const labels = [];
  for (let index = groups.length - 1; index >= 0; index--) {
    const group = groups[index];
    const text = textOf(group);
    const width = widthOf(text);
    const x = group[0].x;
    // Left of the line only where it would leave the axes otherwise.
    const left = x + 4 + width <= pixels ? x + 4 : Math.max(x - 4 - width, 0);
    const right = left + width + 8;
    let row = 0;
    for (const other of labels)
      if (Math.min(left, x) < Math.max(other.right, other.x) && other.left < right) row = Math.max(row, other.row + 1);
    // A line that would run through a label that is lower and reaches over to its left.
    if (row >= rows || (row > 0 && labels.some((o) => o.row < row && o.left < x && x < o.right)))
      if (groups.length > 1) return { labels, crowded: index };
    const kinds = new Set(group.map(({ mark }) => mark.kind));
    labels.push({
      x,
      kind: kinds.size === 1 ? group[0].mark.kind : "several",
      text,
      title: group.map(({ mark }) => `${mark.label} after step ${mark.step.toLocaleString("en-US")}`).join("\n"),
      row: Math.min(row, rows - 1),
      left,
      right,
    });
  }
  return { labels: labels.reverse(), crowded: -1 };
}

/** @param {Cluster[]} groups @param {number} index */
function mergeWithNearest(groups, index) {
  const at = groups[index][0].x;
  const before = index > 0 ? at - groups[index - 1][0].x : Infinity;
  const after = index + 1 < groups.length ? groups[index + 1][0].x - at : Infinity;
  const first = before < after ? index - 1 : index;
  groups.splice(first, 2, [...groups[first], ...groups[first + 1]]);
}

/** @param {Cluster} group */
function textOf(group) {
  if (group.length === 1) return shortLabel(group[0].mark.label);
  const both = group.map(({ mark }) => mark.label).join(" · ");
  return both.length <= 34 ? both : `${group.length} changes`;
}
