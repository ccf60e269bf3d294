// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Selection, countOf, selectable, topmost } from "../../../freezeviz/widgets/static/js/selection.js";
import { placesOf } from "../../../freezeviz/widgets/static/js/tree.js";
import { small, tree } from "./trees.mjs";

const rows = Int32Array.from([0, 1, 4, 5]);
const places = placesOf(rows, 7);

test("a row is selected and deselected", () => {
  const selection = new Selection(7);
  selection.flip(4);
  selection.flip(1);
  assert.deepEqual(selection.rows(), [1, 4]);
  selection.flip(4);
  assert.deepEqual([selection.rows(), selection.count], [[1], 1]);
});

test("a range goes from the anchor to the row, over rows that show, either way", () => {
  const selection = new Selection(7);
  selection.flip(4);
  selection.extend(rows, places, 0);
  assert.deepEqual(selection.rows(), [0, 1, 4]);
  selection.extend(rows, places, 5);
  assert.deepEqual(selection.rows(), [4, 5]);
});

test("without an anchor in sight a range begins where it ends", () => {
  const selection = new Selection(7);
  selection.extend(rows, places, 4);
  assert.deepEqual(selection.rows(), [4]);
  selection.anchor = 2; // closed meanwhile
  selection.extend(rows, places, 5);
  assert.deepEqual(selection.rows(), [5]);
});

test("rows that there are not cannot be selected", () => {
  const selection = new Selection(3);
  selection.replace([0, 2, 7, -1]);
  assert.deepEqual([selection.rows(), selection.count], [[0, 2], 2]);
});

test("of a row and rows below it the upper one counts", () => {
  assert.deepEqual(topmost(small, [1, 2, 3, 5]), [1, 5]);
  assert.deepEqual(topmost(small, [2, 3, 6]), [2, 3, 6]);
  assert.deepEqual(topmost(small, [0, 1, 6]), [0]);
});

test("nothing is counted twice", () => {
  const nodes = [
    [0, "net"],
    [1, "a"],
    [2, "w", 1],
    [1, "b", 1],
  ];
  const counted = tree(nodes, { 0: 12, 1: 10, 2: 10, 3: 2 });
  assert.equal(countOf(counted, [1, 2]), 10);
  assert.equal(countOf(counted, [2, 3]), 12);
});

test("of a filtered list only what passes the filter is selected", () => {
  const matched = Uint8Array.from([0, 0, 0, 1, 1, 1, 0]);
  const selection = new Selection(7);
  selection.anchor = 0;
  selection.extend(rows, places, 5, matched);
  assert.deepEqual(selection.rows(), [4, 5]);
  selection.extend(rows, places, 1, matched);
  assert.deepEqual([selection.rows(), selection.count], [[], 0]);
  assert.deepEqual([...selectable(rows, matched)], [4, 5]); // 3 passes, and does not show
  assert.deepEqual([...selectable(rows, null)], [0, 1, 4, 5]);
});
