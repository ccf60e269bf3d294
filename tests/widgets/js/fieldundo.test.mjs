// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Texts } from "../../../freezeviz/widgets/static/js/fieldundo.js";

test("what was typed without a pause is undone together, and done again", () => {
  const texts = new Texts("");
  ["l", "la", "lay"].forEach((text, i) => texts.changed(text, 100 * i));
  texts.changed("layer", 5000);
  assert.equal(texts.step("undo"), "lay");
  assert.equal(texts.step("undo"), "");
  assert.equal(texts.step("undo"), null);
  assert.equal(texts.step("redo"), "lay");
  assert.equal(texts.step("redo"), "layer");
  assert.equal(texts.step("redo"), null);
});

test("what is typed after an undo is another way to go on", () => {
  const texts = new Texts("10");
  texts.changed("20", 0);
  texts.step("undo");
  texts.changed("10", 1); // the event of the undo itself
  assert.equal(texts.step("redo"), "20");
  texts.step("undo");
  texts.changed("30", 2);
  assert.equal(texts.step("redo"), null);
  assert.equal(texts.step("undo"), "10");
});
