// Run by test_javascript.py: `node --test`, with the module's place in EXPLORER_JS.
import assert from "node:assert/strict";
import { test } from "node:test";

const js = await import(process.env.EXPLORER_JS);

/** A tree of [level, label, flags]. */
function tree(nodes, counts = {}) {
  const stack = [];
  const parents = nodes.map(([level], i) => {
    stack.length = level;
    const parent = stack.at(-1) ?? -1;
    stack.push(i);
    return parent;
  });
  return js.buildTree({
    version: 1,
    labels: nodes.map((n) => n[1]),
    parents,
    kinds: ["K"],
    kind_of: nodes.map(() => 0),
    details: [""],
    detail_of: nodes.map(() => 0),
    counts: nodes.map((_, i) => counts[i] ?? 0),
    flags: nodes.map((n) => n[2] ?? 0),
    aliases: {},
  });
}

const small = tree([
  [0, "net"],
  [1, "a"],
  [2, "w", 1],
  [2, "b", 1],
  [1, "c"],
  [1, "d"],
  [2, "w", 1],
]);

test("a tree knows levels, subtrees and places among siblings", () => {
  assert.deepEqual([...small.level], [0, 1, 2, 2, 1, 1, 2]);
  assert.deepEqual([...small.end], [7, 4, 3, 4, 5, 7, 7]);
  assert.deepEqual([...small.position], [1, 1, 1, 2, 2, 3, 1]);
  assert.deepEqual([...small.siblings], [1, 3, 2, 2, 3, 3, 1]);
});

test("an empty tree is one", () => {
  const empty = tree([]);
  assert.equal(empty.n, 0);
  assert.deepEqual(js.visibleRows(empty, new Uint8Array(0)), []);
});

test("paths are labels joined, without the root's", () => {
  assert.equal(js.pathOf(small, 0), "");
  assert.equal(js.pathOf(small, 3), "a.b");
});

test("rows below a closed one do not show", () => {
  assert.deepEqual(js.visibleRows(small, Uint8Array.from([1, 0, 0, 0, 0, 1, 0])), [0, 1, 4, 5, 6]);
  assert.deepEqual(js.visibleRows(small, new Uint8Array(7)), [0]);
});

test("at first modules are open and parameters are not", () => {
  assert.deepEqual([...js.initiallyOpen(small, 24)], [1, 0, 0, 0, 0, 0, 0]);
});

test("at first few rows show", () => {
  const nodes = [[0, "net"]];
  for (let i = 0; i < 30; i++) nodes.push([1, `b${i}`], [2, "x"], [3, "w", 1]);
  assert.equal(js.visibleRows(tree(nodes), js.initiallyOpen(tree(nodes), 24)).length, 31);
});

test("a lone row that holds all the others is opened with them", () => {
  const deep = tree([
    [0, "net"],
    [1, "body"],
    [2, "a"],
    [2, "b"],
  ]);
  assert.deepEqual(js.visibleRows(deep, js.initiallyOpen(deep, 24)), [0, 1, 2, 3]);
});

test("the window has what is in sight and a little more", () => {
  assert.deepEqual(js.windowOf(0, 280, 1000, 28, 4), [0, 14]);
  assert.deepEqual(js.windowOf(2800, 280, 1000, 28, 4), [96, 114]);
  assert.deepEqual(js.windowOf(27900, 280, 1000, 28, 4), [992, 1000]);
  assert.deepEqual(js.windowOf(0, 280, 0, 28, 4), [0, 0]);
});

test("totals count parameters, not modules", () => {
  const counted = tree(
    [
      [0, "net"],
      [1, "w", 1],
      [1, "b", 1],
    ],
    { 0: 12, 1: 10, 2: 2 },
  );
  assert.deepEqual(js.totals(counted, Uint8Array.from([2, 1, 0])), { trainable: 2, frozen: 10 });
});

test("keys lead where a tree's keys lead", () => {
  const open = Uint8Array.from([1, 1, 0, 0, 0, 0, 0]);
  const rows = js.visibleRows(small, open);
  const go = (key, focus) => js.keyAction(key, small, open, rows, focus, 3);
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
  const rows = [0, 1, 4, 5];
  assert.equal(js.nextStartingWith(small, rows, 0, "C"), 4);
  assert.equal(js.nextStartingWith(small, rows, 5, "a"), 1);
  assert.equal(js.nextStartingWith(small, rows, 5, "z"), 5);
});

test("numbers read well", () => {
  assert.equal(js.formatCount(8320), "8,320");
  assert.equal(js.formatCount(25_600_000), "25.6 M");
  assert.equal(js.formatCount(7_240_000_000), "7.24 B");
  assert.equal(js.formatLoss(0.123456), "0.1235");
  assert.equal(js.formatLoss(0), "0.000");
  assert.equal(js.formatLoss(0.000012345), "1.23e-5");
  assert.equal(js.formatLoss(null), "–");
  assert.equal(js.formatLoss(Infinity), "not finite");
  assert.equal(js.formatShare(0.9612), "96.1\u00a0%");
  assert.equal(js.formatShare(null), "–");
  assert.equal(js.formatRate(812.4), "812 steps/s");
  assert.equal(js.formatRate(0.52), "0.5 steps/s");
  assert.equal(js.formatRate(0), "");
});

test("the line under the bar tells what is known", () => {
  const run = { status: "running", step: 1204, planned: 3000, epoch: 4, epochs: 10, rate: 812.4 };
  assert.equal(js.progressText(run), "step 1,204 of 3,000 · epoch 5 of 10 · 812 steps/s");
  assert.equal(
    js.progressText({ ...run, status: "finished", step: 3000, epoch: 10 }),
    "step 3,000 of 3,000 · epoch 10 of 10",
  );
  assert.equal(
    js.progressText({ status: "idle", step: 0, planned: 0, epoch: 0, epochs: 0, rate: 0 }),
    "not started",
  );
});

test("buttons work where they make sense", () => {
  assert.deepEqual(js.enabledActions("idle"), { start: true, pause: false, stop: false });
  assert.deepEqual(js.enabledActions("running"), { start: false, pause: true, stop: true });
  assert.deepEqual(js.enabledActions("paused"), { start: false, pause: true, stop: true });
  assert.deepEqual(js.enabledActions("failed"), { start: true, pause: false, stop: false });
});

test("bytes come in several wrappings", () => {
  const buffer = Uint8Array.from([9, 1, 2, 9]).buffer;
  assert.deepEqual([...js.bytesOf(new DataView(buffer, 1, 2))], [1, 2]);
  assert.deepEqual([...js.bytesOf(buffer)], [9, 1, 2, 9]);
  assert.deepEqual([...js.bytesOf(null)], []);
});

test("the module exports no `render`, only a default with one", () => {
  assert.equal(js.render, undefined);
  assert.equal(typeof js.default.render, "function");
});
