// @ts-check
/** What the browser keeps for the next time: which columns were chosen. Frames may have no storage: then nothing is. */
import { DEFAULT_COLUMNS } from "./columns.js";

const KEY = "freezeviz.columns";

/** @returns {string[]} */
export function storedColumns() {
  try {
    const stored = JSON.parse(window.localStorage.getItem(KEY) ?? "null");
    if (Array.isArray(stored)) return stored.map(String);
  } catch {
    // no storage, or something else's under this name: the usual columns
  }
  return DEFAULT_COLUMNS;
}

/** @param {string[]} columns */
export function storeColumns(columns) {
  try {
    window.localStorage.setItem(KEY, JSON.stringify(columns));
  } catch {
    // not kept then
  }
}
