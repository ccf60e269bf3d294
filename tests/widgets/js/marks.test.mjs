// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  endOf,
  lanes,
  merged,
  placeLabels,
  placeName,
  placeTexts,
  readMarks,
  shades,
  shortLabel,
  startOf,
} from "../../../freezeviz/widgets/static/js/marks.js";

const widthOf = (text) => 6 * text.length;
const mark = (step, label = `freeze layers.${step}`, kind = "freeze") => ({ step, kind, label });
const spotsOf = (steps, pixels = 500, last = 1000) =>
  steps.map((step) => ({ x: (step / last) * pixels, mark: mark(step) }));

test("the ground is the darker, the larger the share that is frozen", () => {
  const marks = readMarks({
    parameters: 4,
    groups: [
      { label: "a", size: 2, spans: [[20, 60]] },
      { label: "b", size: 1, spans: [[40, null]] },
    ],
  });
  assert.deepEqual(shades(marks, 100), [
    { start: 20, end: 40, share: 0.5 },
    { start: 40, end: 60, share: 0.75 },
    { start: 60, end: 100, share: 0.25 },
  ]);
  assert.deepEqual(shades(readMarks(undefined), 100), []);
});

test("what was thawed and frozen again is two stretches of one lane", () => {
  const marks = readMarks({
    groups: [
      {
        label: "a",
        size: 1,
        spans: [
          [0, 10],
          [30, null],
        ],
      },
    ],
  });
  assert.deepEqual(lanes(marks, 50, 4), [
    {
      label: "a",
      title: "a",
      spans: [
        [0, 10],
        [30, 50],
      ],
    },
  ]);
});

test("lanes that do not fit share the last one, which names them", () => {
  const groups = ["a", "b", "c", "d"].map((label, i) => ({ label, size: 1, spans: [[i, i + 1]] }));
  const found = lanes(readMarks({ groups }), 10, 3);
  assert.deepEqual(
    found.map((lane) => lane.label),
    ["a", "b", "2 more"],
  );
  assert.equal(found[2].title, "c\nd");
  assert.deepEqual(found[2].spans, [
    [2, 3],
    [3, 4],
  ]);
});

test("a long label keeps its verb and the end of its path, cut at a dot", () => {
  assert.equal(shortLabel("freeze layers.0"), "freeze layers.0");
  assert.equal(shortLabel("unfreeze encoder.layers.11.attention.query"), "unfreeze …attention.query");
  assert.equal([...shortLabel(`freeze ${"x".repeat(500)}`)].length, 26);
  assert.equal(
    endOf("a.b.c", (text) => text.length <= 4),
    "…b.c",
  );
  assert.equal(
    endOf("🦊🦊🦊", (text) => [...text].length <= 2),
    "…🦊",
  );
});

test("labels never cover one another, stay on the axes and tell every change", () => {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let round = 0; round < 300; round++) {
    const pixels = 150 + Math.floor(random() * 800);
    const steps = Array.from({ length: 1 + Math.floor(random() * 40) }, () => Math.floor(random() * 1000)).sort(
      (a, b) => a - b,
    );
    const labels = placeLabels(spotsOf(steps, pixels), pixels, widthOf);
    assert.ok(labels.length >= 1 && labels.length <= 12);
    assert.equal(
      labels.reduce((sum, label) => sum + label.title.split("\n").length, 0),
      steps.length,
    );
    labels.forEach((one, i) => {
      assert.ok(one.row >= 0 && one.row < 3);
      for (const other of labels.slice(i + 1))
        if (one.row === other.row) assert.ok(one.right <= other.left || other.right <= one.left);
      // No line runs through the text of a label that is lower.
      for (const other of labels)
        if (other.row < one.row) assert.ok(one.x <= other.left || one.x >= other.right - 8, JSON.stringify(labels));
    });
  }
});

test("changes close together share a label", () => {
  const both = [
    { x: 50, mark: mark(50, "freeze a") },
    { x: 52, mark: mark(51, "unfreeze b", "unfreeze") },
  ];
  const [label] = placeLabels(both, 500, widthOf);
  assert.equal(label.text, "freeze a · unfreeze b");
  assert.equal(label.kind, "several");
  assert.equal(label.title, "freeze a after step 50\nunfreeze b after step 51");
  assert.equal(placeLabels([...both, ...both], 500, widthOf)[0].text, "4 changes");
  assert.deepEqual(placeLabels([], 500, widthOf), []);
});

test("a label at the right end stands left of its line", () => {
  const [label] = placeLabels([{ x: 490, mark: mark(980) }], 500, widthOf);
  assert.ok(label.right <= 500);
});

test("of texts that would overlap, the one of the longest stretch stands", () => {
  const stretches = [
    { left: 0, right: 100, width: 40 },
    { left: 100, right: 110, width: 40 }, // too short, between two long ones
    { left: 110, right: 400, width: 40 },
  ];
  assert.deepEqual(placeTexts(stretches, 0, 400, 5), [5, null, 115]);
});

test("a text at the right end moves in, unless another is there", () => {
  assert.deepEqual(placeTexts([{ left: 380, right: 400, width: 40 }], 0, 400, 5), [360]);
  const two = [
    { left: 300, right: 390, width: 80 },
    { left: 390, right: 400, width: 40 },
  ];
  assert.deepEqual(placeTexts(two, 0, 400, 5), [305, null]);
  assert.deepEqual(placeTexts([{ left: 0, right: 30, width: 40 }], 0, 30, 5), [null]);
});

test("a title keeps its start where it is cut", () => {
  assert.equal(
    startOf("top margin", (text) => text.length <= 6),
    "top m…",
  );
  assert.equal(
    startOf("loss", (text) => text.length <= 6),
    "loss",
  );
  assert.equal(
    startOf("🦊🦊🦊", (text) => [...text].length <= 2),
    "🦊…",
  );
});

test("the name of a lane stands in its bar where it fits", () => {
  assert.deepEqual(placeName([{ left: 100, right: 200 }], 500, 60), { left: 104, room: 92, inside: true });
  const bars = [
    { left: 10, right: 30 },
    { left: 100, right: 200 },
  ];
  assert.deepEqual(placeName(bars, 500, 60), { left: 104, room: 92, inside: true });
});

test("beside a short bar it stands on the ground: right of it, or left where the run ends", () => {
  assert.deepEqual(placeName([{ left: 100, right: 120 }], 500, 60), { left: 124, room: 372, inside: false });
  assert.deepEqual(placeName([{ left: 440, right: 500 }], 500, 150), { left: 286, room: 432, inside: false });
  const bars = [
    { left: 100, right: 110 },
    { left: 130, right: 140 },
  ];
  assert.equal(placeName(bars, 500, 60).left, 144); // not over the second one
});

test("a name without room is cut at the edge of a bar, and left out where there is next to none", () => {
  const bars = [
    { left: 20, right: 60 },
    { left: 90, right: 190 },
  ];
  assert.deepEqual(placeName(bars, 200, 150), { left: 94, room: 92, inside: true });
  assert.equal(placeName([{ left: 10, right: 20 }], 30, 150), null);
});

test("stretches that touch are one", () => {
  const bars = [
    { left: 50, right: 60 },
    { left: 10, right: 20 },
    { left: 20, right: 30 },
    { left: 12, right: 15 },
  ];
  assert.deepEqual(merged(bars), [
    { left: 10, right: 30 },
    { left: 50, right: 60 },
  ]);
});
