// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { counted, formatBytes, formatCount, formatShare, nameOf } from "../../../freezeviz/widgets/static/js/format.js";

test("numbers read well", () => {
  assert.equal(formatCount(8320), "8,320");
  assert.equal(formatCount(25_600_000), "25.6 M");
  assert.equal(formatCount(7_240_000_000), "7.24 B");
  assert.equal(formatShare(0.9612), "96.1\u00a0%");
  assert.equal(formatShare(null), "–");
});

test("bytes have a unit that fits", () => {
  assert.equal(formatBytes(0), "0 B");
  assert.equal(formatBytes(999), "999 B");
  assert.equal(formatBytes(33_280), "33.3 kB");
  assert.equal(formatBytes(1e9), "1.00 GB");
  assert.equal(formatBytes(NaN), "");
});

test("one is not many", () => {
  assert.equal(counted(1, "row"), "1 row");
  assert.equal(counted(2000, "row"), "2,000 rows");
  assert.equal(counted(2, "is", "are"), "2 are");
});

test("the model itself has a name", () => {
  assert.equal(nameOf(""), "the model");
  assert.equal(nameOf("a.b"), "a.b");
});
