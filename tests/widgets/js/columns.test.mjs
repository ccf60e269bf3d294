// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  DEFAULT_COLUMNS,
  formatMeasured,
  inOrder,
  layoutColumns,
  measureOf,
  partOf,
  roleOf,
  trendPath,
} from "../../../freezeviz/widgets/static/js/columns.js";

test("columns stand in their order, known ones only, the state always", () => {
  assert.deepEqual(inOrder(["bytes", "type", "nonsense"]), ["type", "bytes", "state"]);
});

test("in a narrow cell the backward column gives way, then the type", () => {
  assert.deepEqual(layoutColumns(DEFAULT_COLUMNS, 700).shown, ["type", "count", "state", "backward"]);
  assert.deepEqual(layoutColumns(DEFAULT_COLUMNS, 520).shown, ["type", "count", "state"]);
  assert.deepEqual(layoutColumns(DEFAULT_COLUMNS, 350).shown, ["count", "state"]);
});

test("before the width is known all columns show", () => {
  assert.equal(layoutColumns(DEFAULT_COLUMNS, 0).shown.length, 4);
});

test("where measured columns have no room, nothing gives way: there the tree scrolls", () => {
  const { shown, least } = layoutColumns(["type", "count", "bytes", "gradient", "time"], 350);
  assert.deepEqual(shown, ["type", "count", "bytes", "state", "gradient", "time"]);
  assert.ok(least > 350);
});

test("measured columns stand after the state: that one is in sight without scrolling", () => {
  const all = inOrder(["type", "shape", "count", "bytes", "gradient", "trend", "update", "time", "saved", "backward"]);
  assert.deepEqual(all.slice(4), ["state", "backward", "gradient", "trend", "update", "time", "saved"]);
});

test("the grid has a track for the name and for each column that shows", () => {
  assert.equal(layoutColumns(["count"], 600).template, "minmax(150px, 1.6fr) 72px 116px");
});

const measures = Float32Array.from([4, 0.5, 1, 1000, 0.001, NaN, 0.25, 500]);

test("numbers of a row are found and unknown ones are empty", () => {
  assert.equal(measureOf(measures, "gradient", 0), 4);
  assert.equal(measureOf(measures, "saved", 1), 500);
  assert.ok(Number.isNaN(measureOf(measures, "update", 1)));
  assert.ok(Number.isNaN(measureOf(measures, "update", 9)));
  assert.ok(Number.isNaN(measureOf(measures, "count", 0)));
});

test("numbers read well", () => {
  assert.equal(formatMeasured("gradient", 0.001234), "1.2e-3");
  assert.equal(formatMeasured("gradient", 3.14159), "3.14");
  assert.equal(formatMeasured("gradient", 0), "0");
  assert.equal(formatMeasured("gradient", Infinity), "∞");
  assert.equal(formatMeasured("gradient", NaN), "");
  assert.equal(formatMeasured("time", 0.25), "25.0\u00a0%");
  assert.equal(formatMeasured("saved", 2_500_000), "2.50 MB");
});

test("bars show the share of the whole", () => {
  assert.equal(partOf(measures, "time", 1), 0.25);
  assert.equal(partOf(measures, "saved", 1), 0.5);
  assert.equal(partOf(measures, "gradient", 1), 0);
  assert.equal(partOf(new Float32Array(0), "time", 1), 0);
});

test("a role is said in a word and in a sentence, and what is expected is marked", () => {
  assert.equal(roleOf(3).short, "stops here");
  assert.equal(roleOf(2).short, "flows through");
  assert.equal(roleOf(4).short, "nothing to do");
  assert.equal(roleOf(3).expected, false);
  assert.equal(roleOf(3 + 8).expected, true);
  assert.match(roleOf(3 + 8).long, /expected/);
  assert.equal(roleOf(0), null);
  assert.equal(roleOf(7), null);
  assert.equal(roleOf(undefined), null);
});

test("a trend line spans its box, logarithmically", () => {
  assert.equal(trendPath([0.01, 0.1, 1], 64, 16), "M0.0 16.0L32.0 8.0L64.0 0.0");
});

test("a trend line has a gap where nothing is known", () => {
  assert.equal(trendPath([1, NaN, 1, 100], 30, 10), "M0.0 10.0M20.0 10.0L30.0 0.0");
  assert.equal(trendPath([NaN, 0, 3], 30, 10), "");
  assert.equal(trendPath([], 30, 10), "");
});

test("a line that hardly moves is drawn flat", () => {
  assert.equal(trendPath([1, 1, 1], 20, 10), "M0.0 5.0L10.0 5.0L20.0 5.0");
});
