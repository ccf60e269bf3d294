// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ACTIONS, actionOf } from "../../../freezeviz/widgets/static/js/actions.js";
import { isEditing, keyAction, keyName, nextStartingWith } from "../../../freezeviz/widgets/static/js/keys.js";
import { visibleRows } from "../../../freezeviz/widgets/static/js/tree.js";
import { small } from "./trees.mjs";

test("keys lead where a tree's keys lead", () => {
  const open = Uint8Array.from([1, 1, 0, 0, 0, 0, 0]);
  const rows = visibleRows(small, open);
  const go = (key, focus) => keyAction(key, small, open, rows, focus, 3);
  assert.deepEqual(go("ArrowDown", 3), { focus: 4 });
  assert.deepEqual(go("ArrowDown", 5), { focus: 5 });
  assert.deepEqual(go("ArrowUp", 0), { focus: 0 });
  assert.deepEqual(go("ArrowUp", 4), { focus: 3 });
  assert.deepEqual(go("Home", 4), { focus: 0 });
  assert.deepEqual(go("End", 0), { focus: 5 });
  assert.deepEqual(go("PageDown", 0), { focus: 3 });
  assert.deepEqual(go("ArrowRight", 1), { focus: 2 });
  assert.deepEqual(go("ArrowRight", 5), { open: 5 });
  assert.deepEqual(go("ArrowRight", 4), { focus: 4 });
  assert.deepEqual(go("ArrowLeft", 1), { close: 1 });
  assert.deepEqual(go("ArrowLeft", 3), { focus: 1 });
  assert.deepEqual(go("ArrowLeft", 0), { close: 0 });
  assert.deepEqual(go("Enter", 4), { toggle: 4 });
  assert.deepEqual(go(" ", 4), { toggle: 4 });
  assert.equal(go("q", 4), null);
});

test("a letter leads to the next row that starts with it, round the end", () => {
  const rows = Int32Array.from([0, 1, 4, 5]);
  assert.equal(nextStartingWith(small, rows, 0, "C"), 4);
  assert.equal(nextStartingWith(small, rows, 5, "a"), 1);
  assert.equal(nextStartingWith(small, rows, 5, "z"), 5);
});

test("with a filter the way in leads to the first row below that shows", () => {
  const open = Uint8Array.from([1, 1, 0, 0, 0, 0, 0]);
  const go = (rows) => keyAction("ArrowRight", small, open, Int32Array.from(rows), 1, 3);
  assert.deepEqual(go([0, 1, 3, 4]), { focus: 3 });
  assert.deepEqual(go([0, 1, 4]), { focus: 1 });
});

test("keys have the names that aria-keyshortcuts has", () => {
  assert.equal(keyName({ key: "f", shiftKey: false }), "F");
  assert.equal(keyName({ key: "F", shiftKey: true }), "Shift+F");
  assert.equal(keyName({ key: "z", ctrlKey: true }), "Control+Z");
  assert.equal(keyName({ key: "Z", metaKey: true, shiftKey: true }), "Control+Shift+Z");
  assert.equal(keyName({ key: "?", shiftKey: true }), "?");
  assert.equal(keyName({ key: "*", shiftKey: true }), "*");
  assert.equal(keyName({ key: " ", shiftKey: true }), "Shift+Space");
  assert.equal(keyName({ key: "ArrowDown", shiftKey: true }), "Shift+ArrowDown");
  assert.equal(keyName({ key: "Enter", altKey: true }), "Alt+Enter");
});

test("every action has a key, and no key two actions", () => {
  const keys = ACTIONS.flatMap((action) => action.keys ?? []);
  assert.equal(new Set(keys).size, keys.length);
  assert.deepEqual(ACTIONS.filter((action) => !action.keys?.length), []);
  for (const id of ["start", "pause", "stop", "axis", "log", "rougher", "smoother", "table", "png", "svg", "csv"])
    assert.ok(ACTIONS.some((action) => action.id === id && action.everywhere), id);
});

test("keys leave alone what browser, notebook and the tree's own moves are used for", () => {
  const taken = /^(Control\+[LNRTW]|F1|F5|F6|F7|F11|F12|Tab|Shift\+Enter|Control\+Enter|Control\+S|[A-Z0-9_])$/;
  assert.deepEqual(ACTIONS.flatMap((action) => action.keys ?? []).filter((key) => taken.test(key)), []);
  assert.equal(actionOf(keyName({ key: "B", shiftKey: true }))?.id, "start");
  assert.equal(actionOf(keyName({ key: "F8", shiftKey: true }))?.id, "svg");
  assert.equal(actionOf(keyName({ key: "." }))?.id, "smoother");
});

test("what edits a text is told from commands", () => {
  const named = (key, more = {}) => isEditing(keyName({ key, ctrlKey: true, ...more }));
  for (const key of ["a", "c", "v", "x", "Backspace", "ArrowLeft"]) assert.ok(named(key), key);
  assert.ok(named("ArrowLeft", { shiftKey: true }));
  assert.ok(isEditing(keyName({ key: "v", metaKey: true })));
  for (const key of ["s", "Enter", "f"]) assert.ok(!named(key), key);
  assert.ok(!isEditing("A"));
});
