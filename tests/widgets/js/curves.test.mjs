// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  axisNames,
  axisOf,
  interpolate,
  lastStep,
  logTicks,
  lowerBound,
  metricNames,
  movingMean,
  nearest,
  rawValues,
  readCurves,
  readTable,
  recentMean,
  sideBySide,
  smoothValues,
  timeCeiling,
  timeKnots,
  verticalRange,
} from "../../../freezeviz/widgets/static/js/curves.js";

const view = (array) => new DataView(array.buffer);
const f32 = (...values) => view(Float32Array.from(values));
const i32 = (...values) => view(Int32Array.from(values));
const close = (got, expected) => {
  assert.equal(got.length, expected.length);
  got.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-6, `${got} is not ${expected}`));
};

const SHORT = readCurves({
  steps: {
    width: 1,
    rows: 4,
    x: i32(1, 2, 3, 4),
    y: {
      loss: f32(4, NaN, 2, 1),
      accuracy: f32(NaN, NaN, NaN, NaN),
      seconds: f32(0.5, 0.5, NaN, 1),
      f1: f32(0, NaN, 1, NaN),
    },
    mean: {},
  },
  validation: { width: 1, rows: 1, x: i32(4), y: { loss: f32(3), accuracy: f32(0.5) }, mean: {} },
  bad: [[2, 2]],
  knots: { x: i32(0, 2, 4), y: f32(0, 1, 2) },
  levels: [[0, 4, 0.5]],
  text: "words",
});
const WIDE = readCurves({
  steps: {
    width: 4,
    rows: 10,
    x: i32(1, 3, 5, 7, 9, 10),
    y: { loss: f32(1, 5, 9, 3, 7, 6), seconds: f32(1, 2, 3, 4, 5, 6) },
    mean: { loss: f32(2.5, 5, 6.5), seconds: f32(1, 2, 4) },
  },
});

test("a trait is read with its bytes, and one that has not come yet is empty", () => {
  assert.deepEqual([...SHORT.steps.x], [1, 2, 3, 4]);
  assert.deepEqual(SHORT.levels, [{ start: 0, end: 4, seconds: 0.5 }]);
  assert.equal(SHORT.text, "words");
  for (const nothing of [undefined, null, {}]) assert.equal(readCurves(nothing).steps.x.length, 0);
});

test("metrics are those with a value, the loss first, costs are none", () => {
  assert.deepEqual(metricNames(SHORT), ["loss", "accuracy", "f1"]);
  assert.deepEqual(metricNames(readCurves({})), ["loss"]);
});

test("the last step is that of the last bucket's end", () => {
  assert.equal(lastStep(SHORT), 4);
  assert.equal(lastStep(WIDE), 10);
  assert.equal(lastStep(readCurves({})), 1);
});

test("a broken line is straight between its knots and beyond", () => {
  const at = (x) => interpolate([0, 2, 6], [0, 10, 20], x);
  assert.deepEqual([0, 1, 2, 4, 6, 8].map(at), [0, 5, 10, 15, 20, 25]);
  assert.equal(interpolate([], [], 3), 3);
  assert.equal(interpolate([1], [5], 3), 7);
});

test("time is the sum of seconds, of wide buckets of means times steps", () => {
  assert.deepEqual(timeKnots(SHORT.steps), { x: [0, 1, 2, 3, 4], y: [0, 0.5, 1, 1, 2] });
  assert.deepEqual(timeKnots(WIDE.steps), { x: [0, 4, 8, 10], y: [0, 4, 12, 20] });
});

test("axes there are: of epochs once one is over, of time where steps were timed", () => {
  assert.deepEqual(axisNames(SHORT), ["step", "epoch", "time"]);
  assert.deepEqual(axisNames(readCurves({ knots: { x: i32(0, 4), y: f32(0, 1) } })), ["step"]);
  const epoch = axisOf("epoch", SHORT);
  assert.equal(epoch.at(3), 1.5);
  assert.equal(epoch.back(1.5), 3);
  assert.equal(axisOf("time", readCurves({})).name, "step");
  assert.equal(axisOf("time", SHORT).at(4), 2);
});

test("a moving mean has no bias at its beginning and skips gaps", () => {
  close(movingMean([4, 2], 0.5), [4, (0.25 * 4 + 0.5 * 2) / 0.75]);
  assert.deepEqual(movingMean([NaN, 3, NaN, 3], 0.9), [null, 3, null, 3]);
  close(movingMean([5, 5, 5], 0.99), [5, 5, 5]);
  close(movingMean([1, 2, 3], 0), [1, 2, 3]);
});

test("a bad loss is a gap, and a value that a step does not have is passed over", () => {
  assert.deepEqual(rawValues(SHORT.steps, "loss", [[2, 2]]), [4, null, 2, 1]);
  assert.deepEqual(rawValues(SHORT.steps, "loss"), [4, undefined, 2, 1]);
  assert.deepEqual(rawValues(SHORT.steps, "f1"), [0, undefined, 1, undefined]);
  assert.deepEqual(rawValues(SHORT.steps, "none"), []);
  assert.equal(smoothValues(SHORT.steps, "loss", 0.5, [[1, 3]])[1], null);
});

test("a wide table is smoothed by its means, by a factor of so many steps", () => {
  const values = smoothValues(WIDE.steps, "loss", 0.5);
  assert.deepEqual([values[0], values[2], values[4]], [undefined, undefined, undefined]);
  close([values[1], values[3], values[5]], movingMean([2.5, 5, 6.5], 0.5 ** 4));
});

test("tables of different steps stand side by side", () => {
  const { x, columns } = sideBySide([
    { x: [1, 2, 4], columns: [[10, null, 30]] },
    { x: [2, 3], columns: [[5, 6]] },
  ]);
  assert.deepEqual(x, [1, 2, 3, 4]);
  assert.deepEqual(columns, [
    [10, null, undefined, 30],
    [undefined, 5, 6, undefined],
  ]);
});

test("the nearest value is found past gaps", () => {
  const x = [0, 1, 2, 3, 10];
  assert.equal(nearest(x, [1, undefined, null, 4, 5], 1.2), 0);
  assert.equal(nearest(x, [1, undefined, null, 4, 5], 2), 3);
  assert.equal(nearest(x, [null, null, null, null, 5], 0), 4);
  assert.equal(nearest(x, [], 0), -1);
  assert.equal(lowerBound(x, 2.5), 3);
});

test("vertical scales leave room and have an extent", () => {
  close(verticalRange(0, 10), [-0.5, 10.5]);
  close(verticalRange(5, 5), [4.5, 5.5]);
  assert.deepEqual(verticalRange(null, null), [0, 1]);
  assert.deepEqual(verticalRange(0.2, 0.9, { share: true }), [0, 1.02]);
  assert.equal(verticalRange(0.9, 0.99, { share: true })[1], 1.02);
  assert.equal(verticalRange(3, 8, { floor: 0 })[0], 0);
  const [low, high] = verticalRange(1, 100, { log: true });
  assert.ok(low > 0 && low < 1 && high > 100);
  assert.deepEqual(verticalRange(4, 4, { log: true }), [2, 8]);
});

test("a logarithmic axis has round numbers however long it is", () => {
  assert.deepEqual(logTicks(0.8, 120, 8), [1, 2, 5, 10, 20, 50, 100]);
  assert.deepEqual(
    logTicks(0.8, 120, 4),
    [1, 3, 10, 30, 100].filter((_, i) => [0, 2, 4].includes(i)),
  );
  assert.deepEqual(logTicks(1e-8, 1, 4).length <= 5, true);
  const near = logTicks(1.02, 1.31, 4);
  assert.ok(near.length >= 2 && near.every((value) => value >= 1.02 && value <= 1.31), String(near));
  assert.deepEqual(logTicks(0, 1, 4), []);
});

test("a few slow steps do not flatten the others", () => {
  const times = new Float32Array(1000).fill(0.01);
  for (let i = 0; i < 10; i++) times[i * 97] = 1;
  assert.ok(timeCeiling(times) < 0.02);
  assert.equal(timeCeiling(Float32Array.from([NaN])), 1);
});

test("nor do many slow steps, where the typical ones are known", () => {
  const times = new Float32Array(1000).fill(0.01);
  for (let i = 0; i < 100; i++) times[i * 9] = 1;
  assert.ok(timeCeiling(times) > 1);
  assert.ok(Math.abs(timeCeiling(times, [0.01, 0.004]) - 0.04) < 1e-9);
});

test("the newest of a metric is a mean of its last values, in steps or in buckets", () => {
  const short = readTable({ width: 1, rows: 5, x: i32(1, 2, 3, 4, 5), y: { f1: f32(9, 1, NaN, 2, NaN) } });
  assert.equal(recentMean(short, "f1", 2), 1.5);
  assert.equal(recentMean(short, "f1", 20), 4);
  assert.ok(Number.isNaN(recentMean(short, "other", 20)));
  const x = i32(1, 3, 5, 7, 9, 10);
  const wide = readTable({ width: 4, rows: 10, x, y: { f1: f32(0, 9, 0, 9, 0, 9) }, mean: { f1: f32(7, 4, 1) } });
  assert.equal(recentMean(wide, "f1", 2), 1);
  assert.equal(recentMean(wide, "f1", 6), 3); // two of the last bucket, four of the one before
});
