// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { PALETTES } from "../../../freezeviz/widgets/static/js/colors.js";
import { axisOf, readCurves } from "../../../freezeviz/widgets/static/js/curves.js";
import { readMarks } from "../../../freezeviz/widgets/static/js/marks.js";
import { costPanels, heightShares, metricPanels } from "../../../freezeviz/widgets/static/js/panels.js";
import { costInWords } from "../../../freezeviz/widgets/static/js/readings.js";
import { revive } from "../../../freezeviz/widgets/static/js/wire.js";
import { curvesRows, evenly } from "../../../freezeviz/widgets/static/js/tables.js";

const view = (array) => new DataView(array.buffer);
const f32 = (...values) => view(Float32Array.from(values));
const i32 = (...values) => view(Int32Array.from(values));
const CURVES = readCurves({
  steps: {
    width: 1,
    rows: 3,
    x: i32(1, 2, 3),
    y: {
      loss: f32(4, 0, 1),
      accuracy: f32(0.25, 0.5, 0.75),
      seconds: f32(0.002, 0.002, 0.002),
      saved_bytes: f32(NaN, 2048, NaN),
    },
  },
  validation: { width: 1, rows: 1, x: i32(2), y: { loss: f32(3), accuracy: f32(NaN) } },
  bad: [[2, 2]],
  levels: [[0, 3, 0.002]],
});
const AXIS = axisOf("step", CURVES);
const LOOK = { names: ["loss", "accuracy"], log: false, smooth: 0 };

test("panels share the height, the first has most of it", () => {
  for (const n of [1, 2, 3, 4, 7]) {
    const shares = heightShares(n);
    assert.ok(Math.abs(shares.reduce((a, b) => a + b, 0) - 1) < 1e-9);
    assert.ok(shares.every((share) => share > 0 && share <= shares[0]));
  }
});

test("a metric has its training and, where there is one, its validation", () => {
  const [loss, accuracy] = metricPanels(CURVES, AXIS, PALETTES.light, LOOK);
  assert.deepEqual(
    loss.lines.map((line) => line.label),
    ["training", "validation"],
  );
  assert.deepEqual(loss.columns, [
    [4, 0, 1],
    [undefined, 3, undefined],
  ]);
  assert.deepEqual(loss.bad, [[2, 2]]);
  assert.deepEqual(
    accuracy.lines.map((line) => line.label),
    ["training"],
  );
  assert.equal(accuracy.height.share, true);
});

test("smoothed, the raw curve stays behind, pale", () => {
  const [loss] = metricPanels(CURVES, AXIS, PALETTES.light, { ...LOOK, smooth: 0.5 });
  assert.deepEqual(
    loss.lines.map((line) => [line.label, line.color]),
    [
      ["each step", PALETTES.light.pale],
      ["training", PALETTES.light.training],
      ["validation", PALETTES.light.validation],
    ],
  );
  assert.deepEqual(loss.columns[0], [4, 0, 1]);
});

test("logarithmic, what has no logarithm is a gap, and accuracy stays as it is", () => {
  const [loss, accuracy] = metricPanels(CURVES, AXIS, PALETTES.light, { ...LOOK, log: true });
  assert.deepEqual(loss.columns[0], [4, null, 1]);
  assert.equal(loss.title, "loss (log)");
  assert.equal(loss.height.log, true);
  assert.equal(accuracy.height.log, false);
});

test("costs are milliseconds from 0 on, with their typical value, and bytes where measured", () => {
  const [time, kept] = costPanels(CURVES, AXIS, PALETTES.light);
  assert.equal(time.title, "ms per step");
  assert.ok(Math.abs(time.columns[0][0] - 2) < 1e-6);
  assert.deepEqual(
    time.levels.map(({ x0, x1, text }) => [x0, x1, text]),
    [[0, 3, "2 ms"]],
  );
  assert.equal(kept.title, "kept");
  assert.deepEqual(kept.columns[0], [undefined, 2048, undefined]);
  assert.deepEqual(costPanels(readCurves({}), AXIS, PALETTES.light), []);
  assert.equal(costInWords(CURVES), "Typical time of a step. steps 1 to 3: 2.00 ms.");
});

test("a table has the values of steps, validations once, and changes where they happened", () => {
  const marks = readMarks({ marks: [[2, "freeze", "freeze a"]] });
  assert.deepEqual(curvesRows(CURVES, ["loss"], marks), [
    ["1", "4", "", ""],
    ["2", "0", "3", "freeze a"],
    ["3", "1", "", ""],
  ]);
});

test("of many steps some are chosen evenly, first and last among them", () => {
  assert.deepEqual(evenly(3), [0, 1, 2]);
  const some = evenly(1000);
  assert.equal(some.length, 50);
  assert.deepEqual([some[0], some[49]], [0, 999]);
});

test("bytes of an answer are found in its buffers", () => {
  assert.deepEqual(revive({ a: { buffer: 1 }, b: [{ buffer: 0 }], c: null, d: 3 }, ["x", "y"]), {
    a: "y",
    b: ["x"],
    c: null,
    d: 3,
  });
});
