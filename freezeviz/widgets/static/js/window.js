// @ts-check
/** Which rows are in sight, and where they are put. Pure functions.
 *
 * Browsers limit an element's height (Firefox to some 17.8 million pixels). A longer list stands in a box of the
 * greatest height used here; its scroll position is then a share of the list, and rows are placed around it.
 */

export const ROW_HEIGHT = 28; // the same number as --fz-row in css/theme.css
export const MOST_PIXELS = 8_000_000;
const OVERSCAN = 8;

/** Height of the box. @param {number} count */
export function boxHeight(count) {
  return Math.min(count * ROW_HEIGHT, MOST_PIXELS);
}

/** How far into the list a scroll position is, in pixels of the list; the same but for very long ones.
 * @param {number} top @param {number} height of what is seen @param {number} count */
export function listOffset(top, height, count) {
  const list = count * ROW_HEIGHT;
  if (list <= MOST_PIXELS) return top;
  const share = Math.min(1, Math.max(0, top / Math.max(1, MOST_PIXELS - height)));
  return share * (list - height);
}

/** The scroll position for a place in the list: the other way round. @param {number} offset @param {number} height
 * @param {number} count */
export function scrollTopOf(offset, height, count) {
  const list = count * ROW_HEIGHT;
  if (list <= MOST_PIXELS) return offset;
  return (offset / Math.max(1, list - height)) * (MOST_PIXELS - height);
}

/** First and last (exclusive) index to draw. @param {number} offset @param {number} height @param {number} count */
export function windowOf(offset, height, count, rowHeight = ROW_HEIGHT, overscan = OVERSCAN) {
  const first = Math.max(0, Math.floor(offset / rowHeight) - overscan);
  const last = Math.min(count, Math.ceil((offset + height) / rowHeight) + overscan);
  return [Math.min(first, count), Math.max(last, 0)];
}
