// @ts-check
/** What one takes along from the tree as text.
 * @typedef {import("./modelpanel.js").ModelPanel} ModelPanel
 */
import { showText } from "./dialogs.js";
import { copyText } from "./dom.js";
import { nameOf } from "./format.js";
import { pathOf } from "./tree.js";

/** @param {ModelPanel} panel */
export function copyPath(panel) {
  const path = pathOf(panel.grid.tree, panel.grid.focus);
  copyText(path).then((done) => {
    if (done) panel.setNote(`Copied ${nameOf(path)}.`, "info");
    else showText(panel.root, "Path", path);
  });
}

/** @param {ModelPanel} panel @param {"code" | "policy"} about */
export function showCode(panel, about) {
  const title = about === "code" ? "Code that freezes a fresh model like this" : "Policy (JSON)";
  const asked = panel.talk.ask(about, {}, (answer) => {
    if (answer.error) panel.setNote(answer.error, "error");
    else showText(panel.root, title, answer.text);
  });
  if (!asked) panel.setNote("The kernel is gone: code comes from it.", "error");
}
