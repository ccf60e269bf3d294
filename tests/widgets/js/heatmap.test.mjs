// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { PALETTES, cividis, logShare } from "../../../freezeviz/widgets/static/js/colors.js";
import {
  colorOf,
  columnEdges,
  heatPanel,
  normAt,
  normText,
  readHeat,
} from "../../../freezeviz/widgets/static/js/heatmap.js";

const view = (array) => new DataView(array.buffer);
const HEAT = readHeat({
  labels: ["a", "b"],
  steps: view(Int32Array.from([2, 4, 8])),
  norms: view(Float32Array.from([1, 0.1, NaN, 0.01, 0, 1])),
  low: 0.01,
  high: 1,
});
const AXIS = { name: "step", label: "step", at: (step) => step, back: (x) => x };

test("the colours are cividis, dark for small and light for large", () => {
  assert.deepEqual(cividis(0), [0, 34, 78]);
  assert.deepEqual(cividis(1), [254, 232, 56]);
  const light = (share) => cividis(share).reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  for (let i = 0; i < 32; i++) assert.ok(light((i + 1) / 32) > light(i / 32));
  assert.deepEqual(cividis(-3), cividis(0));
  assert.deepEqual(cividis(3), cividis(1));
});

test("a norm's colour goes by its logarithm", () => {
  assert.equal(logShare(0.1, 0.01, 1), 0.5);
  assert.equal(logShare(0, 0.01, 1), 0);
  assert.deepEqual(colorOf(HEAT, 0.1), cividis(0.5));
  assert.deepEqual(colorOf(HEAT, 100), cividis(1));
  assert.equal(colorOf(HEAT, NaN), null);
});

test("columns reach halfway to their neighbours and not beyond the run", () => {
  assert.deepEqual(columnEdges([2, 4, 8], 9), [1, 3, 6, 9]);
  assert.deepEqual(columnEdges([2, 4, 8], 100), [1, 3, 6, 10]);
  assert.deepEqual(columnEdges([5], 9), [0, 5]);
  assert.deepEqual(columnEdges([], 9), []);
});

test("the norm at a place is that of its column and row", () => {
  assert.deepEqual(
    [0, 2.9, 3, 5.9, 6, 99].map((step) => normAt(HEAT, step, 0).column),
    [0, 0, 1, 1, 2, 2],
  );
  assert.ok(Math.abs(normAt(HEAT, 4, 0).norm - 0.1) < 1e-6);
  assert.equal(normText(normAt(HEAT, 8, 0).norm), "no gradient (frozen)");
  assert.equal(normText(normAt(HEAT, 4, 1).norm), "0");
});

test("every cell is painted once, with its colour", () => {
  const painted = [];
  const ctx = { fillStyle: "", fillRect: (...box) => painted.push([ctx.fillStyle, ...box]) };
  const panel = heatPanel(HEAT, AXIS, 9, "grey");
  panel.cells.paint(ctx, (column, row) => [column, row, 1, 1]);
  assert.equal(painted.length, 6);
  assert.deepEqual(painted[2], ["grey", 2, 0, 1, 1]);
  assert.deepEqual(painted[5], [`rgb(${cividis(1).join(",")})`, 2, 1, 1, 1]);
});

test("lines can be told from their ground in light and dark", () => {
  const light = (hex) => {
    const parts = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
    const [r, g, b] = parts.map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  for (const mode of ["light", "dark"]) {
    const palette = PALETTES[mode];
    for (const name of ["training", "validation", "freeze", "unfreeze", "other", "bad", "level", "axis"])
      assert.ok(contrast(palette[name], palette.ground) >= 3, `${mode} ${name}`);
    for (const [text, ground] of [
      [palette.text, palette.ground],
      [palette.laneText, palette.lane],
    ])
      assert.ok(contrast(text, ground) >= 4.5, `${mode} ${text}`);
  }
});
