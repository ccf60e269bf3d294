// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { MOST_PIXELS, ROW_HEIGHT, boxHeight, listOffset, scrollTopOf, windowOf } from "../../../freezeviz/widgets/static/js/window.js";

test("the window has what is in sight and a little more", () => {
  assert.deepEqual(windowOf(0, 280, 1000, 28, 4), [0, 14]);
  assert.deepEqual(windowOf(2800, 280, 1000, 28, 4), [96, 114]);
  assert.deepEqual(windowOf(27900, 280, 1000, 28, 4), [992, 1000]);
  assert.deepEqual(windowOf(0, 280, 0, 28, 4), [0, 0]);
});

test("a list of usual length stands as it is", () => {
  assert.equal(boxHeight(1000), 1000 * ROW_HEIGHT);
  assert.equal(listOffset(1234, 400, 1000), 1234);
  assert.equal(scrollTopOf(1234, 400, 1000), 1234);
});

test("a list higher than browsers allow is scrolled through by its share", () => {
  const count = 2_000_000;
  const list = count * ROW_HEIGHT;
  assert.equal(boxHeight(count), MOST_PIXELS);
  assert.equal(listOffset(0, 400, count), 0);
  assert.equal(listOffset(MOST_PIXELS - 400, 400, count), list - 400);
  assert.equal(listOffset(MOST_PIXELS, 400, count), list - 400);
  for (const offset of [0, 1_000_000, list / 2, list - 400])
    assert.ok(Math.abs(listOffset(scrollTopOf(offset, 400, count), 400, count) - offset) < 0.01);
});
