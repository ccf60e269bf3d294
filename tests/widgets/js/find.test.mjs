// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  NO_FILTER,
  filterRows,
  haystack,
  isFiltering,
  kindCounts,
  nextFound,
  searchRows,
  splitAt,
} from "../../../freezeviz/widgets/static/js/find.js";
import { allPaths } from "../../../freezeviz/widgets/static/js/tree.js";
import { tree } from "./trees.mjs";

const net = tree(
  [
    [0, "Net", 0, "Net"],
    [1, "encoder", 0, "Block"],
    [2, "Attention", 0, "Linear"],
    [3, "weight", 1, "parameter"],
    [2, "norm", 2, "BatchNorm"],
    [3, "weight", 1, "parameter"],
    [1, "head", 0, "Linear"],
    [2, "bias", 1, "parameter"],
  ],
  {},
  { 3: ["decoder.Weight"] },
);
const hay = haystack(net, allPaths(net));

test("a search looks at paths, types and further paths, whatever the case", () => {
  assert.deepEqual([...searchRows(hay, "ATTENTION")], [2, 3]);
  assert.deepEqual([...searchRows(hay, "linear")], [2, 6]);
  assert.deepEqual([...searchRows(hay, "decoder.w")], [3]);
  assert.deepEqual([...searchRows(hay, "encoder.norm.w")], [5]);
  assert.deepEqual([...searchRows(hay, "nothing like it")], []);
  assert.deepEqual([...searchRows(hay, "")], []);
});

test("what stands at the seam of two texts is not found", () => {
  assert.deepEqual([...searchRows(hay, "headlinear")], []);
});

test("going through what was found goes round the end", () => {
  const found = Int32Array.from([2, 5, 9]);
  assert.equal(nextFound(found, 2, 1), 1);
  assert.equal(nextFound(found, 2, 1, true), 0);
  assert.equal(nextFound(found, 9, 1), 0);
  assert.equal(nextFound(found, 5, -1), 0);
  assert.equal(nextFound(found, 2, -1), 2);
  assert.equal(nextFound(found, 7, -1), 1);
  assert.equal(nextFound(new Int32Array(0), 7, 1), -1);
});

test("a match is marked where it stands", () => {
  assert.deepEqual(splitAt("self_Attention", "att"), ["self_", "Att", "ention"]);
  assert.equal(splitAt("norm", "att"), null);
  assert.equal(splitAt("norm", ""), null);
});

test("where lower case is longer nothing is marked rather than the wrong letters", () => {
  assert.equal(splitAt("İİatt", "att"), null);
});

const state = Uint8Array.from([2, 2, 1, 1, 1 | 4, 1, 0 | 16, 0 | 8]);

test("a filter by state keeps what passes and what is above it", () => {
  const { keep, open, count } = filterRows(net, state, { ...NO_FILTER, state: "frozen" }, new Int32Array(0));
  assert.deepEqual([...keep], [1, 1, 1, 1, 1, 1, 0, 0]);
  assert.deepEqual([...open], [1, 1, 1, 0, 1, 0, 0, 0]);
  assert.equal(count, 4);
});

test("filters may be put together", () => {
  const kept = (filter, found = []) => {
    const left = filterRows(net, state, { ...NO_FILTER, ...filter }, Int32Array.from(found));
    return [...left.keep].flatMap((mark, i) => (mark ? [i] : []));
  };
  assert.deepEqual(kept({ kind: "Linear" }), [0, 1, 2, 6]);
  assert.deepEqual(kept({ kind: "Linear", state: "frozen" }), [0, 1, 2]);
  assert.deepEqual(kept({ statistics: true }), [0, 1, 4]);
  assert.deepEqual(kept({ state: "held" }), [0, 1, 4]);
  assert.deepEqual(kept({ state: "locked" }), [0, 6, 7]); // with what is below
  assert.deepEqual(kept({ state: "pending" }), [0, 6, 7]);
  assert.deepEqual(kept({ found: true }, [7]), [0, 6, 7]);
  assert.deepEqual(kept({ kind: "gone" }), []);
});

test("a filter that asks for nothing is none", () => {
  assert.equal(isFiltering(NO_FILTER), false);
  assert.equal(isFiltering({ ...NO_FILTER, statistics: true }), true);
});

test("types are counted, of modules, most first", () => {
  assert.deepEqual(kindCounts(net), [
    ["Linear", 2],
    ["BatchNorm", 1],
    ["Block", 1],
    ["Net", 1],
  ]);
});

test("a filter tells what passes it from what is above", () => {
  const { matched, count } = filterRows(net, state, { ...NO_FILTER, kind: "Linear" }, new Int32Array(0));
  assert.deepEqual([...matched], [0, 0, 1, 0, 0, 0, 1, 0]);
  assert.equal(count, 2);
});
