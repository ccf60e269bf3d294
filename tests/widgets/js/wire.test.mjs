// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { bytesOf } from "../../../freezeviz/widgets/static/js/wire.js";

test("bytes come in several wrappings", () => {
  const buffer = Uint8Array.from([9, 1, 2, 9]).buffer;
  assert.deepEqual([...bytesOf(new DataView(buffer, 1, 2))], [1, 2]);
  assert.deepEqual([...bytesOf(buffer)], [9, 1, 2, 9]);
  assert.deepEqual([...bytesOf(null)], []);
});
