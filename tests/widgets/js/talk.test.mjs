// Run by test_javascript.py: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Talk } from "../../../freezeviz/widgets/static/js/talk.js";

function talk() {
  const sent = [];
  const rows = [];
  const made = new Talk(
    { send: (message) => sent.push(message), get() {}, on() {}, off() {} },
    { answered: (row) => rows.push(row), broken: () => (made.dead = true) },
  );
  const hear = (message, buffers = []) => {
    const mine = made.isMine({ view: made.id, ...message });
    if (mine) made.received({ view: made.id, ...message }, buffers);
    return mine;
  };
  return { made, sent, rows, hear };
}

test("messages are numbered", () => {
  const { made, sent } = talk();
  made.send("undo");
  made.send("redo");
  assert.deepEqual(
    sent.map(({ type, seq }) => [type, seq]),
    [["undo", 1], ["redo", 2]],
  ); // prettier-ignore
});

test("an acknowledged click is answered, a later one of the same row is waited for", () => {
  const { made, rows, hear } = talk();
  made.post("toggle", {}, [3]);
  made.post("toggle", {}, [3, 4]);
  hear({ type: "ack", seq: 1 });
  assert.deepEqual(rows, []);
  hear({ type: "ack", seq: 2 });
  assert.deepEqual(rows, [3, 4]);
});

test("a question is answered once, with its buffers", () => {
  const { made, hear } = talk();
  const got = [];
  made.ask("code", {}, (answer, buffers) => got.push([answer.text, buffers.length]));
  hear({ type: "answer", seq: 1, about: "code", text: "a" }, [new DataView(new ArrayBuffer(1))]);
  hear({ type: "answer", seq: 1, about: "code", text: "a" });
  assert.deepEqual(got, [["a", 1]]);
  assert.equal(made.sent.size, 0);
});

test("of several questions of a kind the last one counts, whatever the order of the answers", () => {
  const { made, hear } = talk();
  const got = [];
  made.ask("preview", {}, () => got.push("first"));
  made.ask("preview", {}, () => got.push("second"));
  hear({ type: "answer", seq: 2, about: "preview" });
  hear({ type: "answer", seq: 1, about: "preview" });
  assert.deepEqual(got, ["second"]);
  assert.equal(made.sent.size, 0);
});

test("an acknowledgement does not stand for an answer", () => {
  const { made, hear } = talk();
  const got = [];
  made.ask("details", {}, () => got.push(1));
  made.send("undo");
  hear({ type: "ack", seq: 2 });
  assert.equal(made.sent.size, 1);
  hear({ type: "answer", seq: 1, about: "details" });
  assert.deepEqual(got, [1]);
});

test("what is not for this view, or was never asked, is ignored", () => {
  const { made, hear } = talk();
  made.send("undo");
  assert.equal(hear({ type: "ack", seq: 2 }), false);
  assert.equal(hear({ type: "ack", seq: 0 }), false);
  assert.equal(hear({ type: "ack", seq: "1" }), false);
  assert.equal(hear({ type: "ack", seq: 1, view: "another" }), false);
  assert.equal(made.isMine(null), false);
  assert.equal(made.isMine("ack"), false);
  assert.equal(hear({ type: "answer", seq: 1, about: "__proto__" }), true);
  assert.equal(hear({ type: "answer", seq: 1 }), true);
  assert.equal(made.sent.size, 1);
});

test("what nobody wants to know any more is not passed on", () => {
  const { made, hear } = talk();
  const got = [];
  made.ask("details", {}, () => got.push(1));
  made.forget("details");
  hear({ type: "answer", seq: 1, about: "details" });
  assert.deepEqual(got, []);
});

test("nothing is sent to a kernel that is gone, and a question says so", () => {
  const { made, sent } = talk();
  made.dead = true;
  made.send("undo");
  assert.equal(made.ask("code", {}, () => {}), false);
  assert.deepEqual(sent, []);
});

test("a connection that breaks is told", () => {
  const { made } = talk();
  made.model.send = () => {
    throw new Error("closed");
  };
  assert.equal(made.ask("code", {}, () => {}), false);
  assert.equal(made.dead, true);
});

test("it is known what waits for an answer", () => {
  const { made, hear } = talk();
  made.send("fold", { open: true, paths: [] });
  assert.equal(made.waitsFor("fold"), true);
  assert.equal(made.waitsFor("columns"), false);
  hear({ type: "ack", seq: made.seq });
  assert.equal(made.waitsFor("fold"), false);
});
