// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  allPaths,
  buildTree,
  fold,
  initiallyOpen,
  nearestRow,
  pathOf,
  placesOf,
  sumsBefore,
  visibleRows,
} from "../../../freezeviz/widgets/static/js/tree.js";
import { small, tree } from "./trees.mjs";

test("a tree knows levels, subtrees and places among siblings", () => {
  assert.deepEqual([...small.level], [0, 1, 2, 2, 1, 1, 2]);
  assert.deepEqual([...small.end], [7, 4, 3, 4, 5, 7, 7]);
  assert.deepEqual([...small.position], [1, 1, 1, 2, 2, 3, 1]);
  assert.deepEqual([...small.siblings], [1, 3, 2, 2, 3, 3, 1]);
});

test("an empty tree is one", () => {
  const empty = tree([]);
  assert.equal(empty.n, 0);
  assert.deepEqual([...visibleRows(empty, new Uint8Array(0))], []);
});

test("paths are labels joined, without the root's", () => {
  assert.equal(pathOf(small, 0), "");
  assert.equal(pathOf(small, 3), "a.b");
});

test("rows below a closed one do not show", () => {
  assert.deepEqual([...visibleRows(small, Uint8Array.from([1, 0, 0, 0, 0, 1, 0]))], [0, 1, 4, 5, 6]);
  assert.deepEqual([...visibleRows(small, new Uint8Array(7))], [0]);
});

test("at first modules are open and parameters are not", () => {
  assert.deepEqual([...initiallyOpen(small, 24)], [1, 0, 0, 0, 0, 0, 0]);
});

test("at first few rows show", () => {
  const nodes = [[0, "net"]];
  for (let i = 0; i < 30; i++) nodes.push([1, `b${i}`], [2, "x"], [3, "w", 1]);
  assert.equal(visibleRows(tree(nodes), initiallyOpen(tree(nodes), 24)).length, 31);
});

test("a lone row that holds all the others is opened with them", () => {
  const deep = tree([
    [0, "net"],
    [1, "body"],
    [2, "a"],
    [2, "b"],
  ]);
  assert.deepEqual([...visibleRows(deep, initiallyOpen(deep, 24))], [0, 1, 2, 3]);
});

test("with a filter only what is kept shows", () => {
  const open = Uint8Array.from([1, 1, 0, 0, 0, 1, 0]);
  const keep = Uint8Array.from([1, 1, 0, 1, 0, 0, 1]);
  assert.deepEqual([...visibleRows(small, open, keep)], [0, 1, 3]);
});

test("places are where rows show", () => {
  assert.deepEqual([...placesOf(Int32Array.from([0, 1, 4]), 6)], [0, 1, -1, -1, 2, -1]);
});

test("paths of all rows are those of each", () => {
  assert.deepEqual(
    allPaths(small),
    Array.from({ length: small.n }, (_, i) => pathOf(small, i)),
  );
});

test("a path that has no row of its own leads to the nearest above it", () => {
  const rows = new Map(allPaths(small).map((path, i) => [path, i]));
  assert.equal(nearestRow(rows, "a.w"), 2);
  assert.equal(nearestRow(rows, "d.tied.weight"), 5);
  assert.equal(nearestRow(rows, "gone.weight"), 0);
  assert.equal(nearestRow(rows, ""), 0);
});

test("sums count parameters, not modules, and frozen ones if a state is given", () => {
  const nodes = [
    [0, "net"],
    [1, "w", 1],
    [1, "b", 1],
  ];
  const counted = tree(nodes, { 0: 12, 1: 10, 2: 2 });
  assert.deepEqual([...sumsBefore(counted)], [0, 0, 10, 12]);
  assert.deepEqual([...sumsBefore(counted, Uint8Array.from([2, 1, 0]))], [0, 0, 10, 10]);
});

test("rows follow what is said of them, whatever was done here, and others stay", () => {
  const open = Uint8Array.from([1, 0, 0, 0, 0, 1, 0]);
  const said = Uint8Array.from([2, 2, 2, 0, 1, 0, 0]);
  assert.equal(fold(small, open, said), true);
  assert.deepEqual([...open], [1, 1, 0, 0, 0, 1, 0]);
  assert.equal(fold(small, open, said), false);
  open[1] = 0; // here; then somebody else unfolded it, and the same is said again
  assert.equal(fold(small, open, said), true);
  assert.deepEqual([...open], [1, 1, 0, 0, 0, 1, 0]);
});

test("columns may come as bytes, at any offset", () => {
  const bytes = (array) => {
    const all = new Uint8Array(array.byteLength + 3);
    all.set(new Uint8Array(array.buffer), 3);
    return new DataView(all.buffer, 3);
  };
  const built = buildTree({
    version: 2,
    labels: ["net", "w"],
    label_of: bytes(Int32Array.from([0, 1, 1])),
    parents: bytes(Int32Array.from([-1, 0, 0])),
    kinds: ["Net", "parameter"],
    kind_of: bytes(Int32Array.from([0, 1, 1])),
    details: ["", "2 × 3"],
    detail_of: bytes(Int32Array.from([0, 1, 1])),
    counts: bytes(Float64Array.from([2 ** 40, 6, 6])),
    bytes: bytes(Float64Array.from([48, 24, 24])),
    flags: bytes(Uint8Array.from([0, 1, 1])),
    aliases: {},
  });
  assert.deepEqual(built.labels, ["net", "w", "w"]);
  assert.deepEqual([...built.end], [3, 2, 3]);
  assert.equal(built.counts[0], 2 ** 40);
  assert.equal(built.detail(1), "2 × 3");
  assert.deepEqual([...built.bytes], [48, 24, 24]);
});
