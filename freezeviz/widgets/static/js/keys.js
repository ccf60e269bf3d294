// @ts-check
/** What keys are called, and where they lead in the tree. Pure functions.
 * @typedef {import("./wire.js").Tree} Tree
 */
import { hasChildren } from "./tree.js";

/** Where a key leads: {focus}, {open}, {close}, {toggle} or null.
 * @param {string} key @param {Tree} tree @param {Uint8Array} open @param {Int32Array} rows @param {number} focus
 * @param {number} page @returns {{focus?: number, open?: number, close?: number, toggle?: number} | null} */
export function keyAction(key, tree, open, rows, focus, page) {
  const at = rows.indexOf(focus);
  const clamp = (/** @type {number} */ k) => ({ focus: rows[Math.max(0, Math.min(rows.length - 1, k))] });
  switch (key) {
    case "ArrowDown":
      return clamp(at + 1);
    case "ArrowUp":
      return clamp(at - 1);
    case "PageDown":
      return clamp(at + page);
    case "PageUp":
      return clamp(at - page);
    case "Home":
      return clamp(0);
    case "End":
      return clamp(rows.length - 1);
    case "ArrowRight":
      if (!hasChildren(tree, focus)) return { focus };
      // With a filter the first row below may not show.
      return open[focus]
        ? { focus: rows[at + 1] > focus && rows[at + 1] < tree.end[focus] ? rows[at + 1] : focus }
        : { open: focus };
    case "ArrowLeft":
      if (open[focus] && hasChildren(tree, focus)) return { close: focus };
      return { focus: tree.parent[focus] >= 0 ? tree.parent[focus] : focus };
    case "Enter":
    case " ":
      return { toggle: focus };
    default:
      return null;
  }
}

/** The next row whose label starts with a letter, after the focused one. @param {Tree} tree @param {Int32Array} rows
 * @param {number} focus @param {string} letter */
export function nextStartingWith(tree, rows, focus, letter) {
  const at = rows.indexOf(focus);
  for (let k = 1; k <= rows.length; k++) {
    const i = rows[(at + k) % rows.length];
    if (tree.labels[i].toLowerCase().startsWith(letter.toLowerCase())) return i;
  }
  return focus;
}

/** A key press as text, in the way of aria-keyshortcuts: "Shift+F", "Control+Z", "/", "?".
 * Meta counts as Control. A letter is upper-case; Shift is named for letters and named keys only, as "?" has it in it.
 * @param {{key: string, shiftKey?: boolean, ctrlKey?: boolean, metaKey?: boolean, altKey?: boolean}} event */
export function keyName(event) {
  const key = event.key === " " ? "Space" : event.key;
  const letter = key.length === 1 && key.toLowerCase() !== key.toUpperCase();
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Control");
  if (event.altKey) parts.push("Alt");
  if (event.shiftKey && (letter || key.length > 1)) parts.push("Shift");
  parts.push(letter ? key.toUpperCase() : key);
  return parts.join("+");
}

/** Whether a press, by its name, edits a text: what a field does with it by itself, and a notebook must not hear.
 * @param {string} name see keyName */
export function isEditing(name) {
  return /^Control\+(Shift\+)?([ACVX]|Backspace|Delete|Home|End|Arrow\w+)$/.test(name);
}
