// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { readCurves } from "../../../freezeviz/widgets/static/js/curves.js";
import {
  enabledActions,
  formatLoss,
  formatRate,
  ownMetrics,
  progressText,
} from "../../../freezeviz/widgets/static/js/dashboard.js";

test("numbers of a run read well", () => {
  assert.equal(formatLoss(0.123456), "0.1235");
  assert.equal(formatLoss(0), "0.000");
  assert.equal(formatLoss(0.000012345), "1.23e-5");
  assert.equal(formatLoss(null), "–");
  assert.equal(formatLoss(Infinity), "not finite");
  assert.equal(formatRate(812.4), "812 steps/s");
  assert.equal(formatRate(0.52), "0.5 steps/s");
  assert.equal(formatRate(0), "");
});

test("the line under the bar tells what is known", () => {
  const run = { status: "running", step: 1204, planned: 3000, epoch: 4, epochs: 10, rate: 812.4 };
  assert.equal(progressText(run), "step 1,204 of 3,000 · epoch 5 of 10 · 812 steps/s");
  assert.equal(
    progressText({ ...run, status: "finished", step: 3000, epoch: 10 }),
    "step 3,000 of 3,000 · epoch 10 of 10",
  );
  assert.equal(
    progressText({ status: "idle", step: 0, planned: 0, epoch: 0, epochs: 0, rate: 0 }),
    "not started",
  );
});

test("buttons work where they make sense", () => {
  assert.deepEqual(enabledActions("idle"), { start: true, pause: false, stop: false });
  assert.deepEqual(enabledActions("running"), { start: false, pause: true, stop: true });
  assert.deepEqual(enabledActions("paused"), { start: false, pause: true, stop: true });
  assert.deepEqual(enabledActions("failed"), { start: true, pause: false, stop: false });
});

test("metrics of the user's have a number each, a few of them, with that of validation", () => {
  const f32 = (...values) => new DataView(Float32Array.from(values).buffer);
  const x = new DataView(Int32Array.of(1, 2).buffer);
  const own = { perplexity: f32(20, 10), "<b>": f32(0, 1e-9), c: f32(1, 1), d: f32(1, 1), e: f32(1, 1) };
  const y = { loss: f32(3, 2), accuracy: f32(0, 1), seconds: f32(1, 1), ...own };
  const validation = { width: 1, rows: 2, x, y: { loss: f32(1, 1), perplexity: f32(14, 13) } };
  const metrics = ownMetrics(readCurves({ steps: { width: 1, rows: 2, x, y }, validation }));
  assert.deepEqual(metrics.slice(0, 2), [
    { name: "perplexity", value: "15.00", validation: "val. 13.00" },
    { name: "<b>", value: "5.00e-10", validation: "" },
  ]);
  assert.deepEqual(metrics.map(({ name }) => name).slice(2), ["c", "d"]);
  assert.deepEqual(ownMetrics(readCurves({})), []);
});
