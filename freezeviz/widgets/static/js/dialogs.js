// @ts-check
/** What is shown above everything else: the list of keys, and code to take along. */
import { ACTIONS, MOVES, keyLabel } from "./actions.js";
import { copyText, giveFocusBack, make, setText } from "./dom.js";

let made = 0; // ids must differ on a page with several views

/** A dialog with a title and a button to close; the focus goes back to where it was.
 * @param {HTMLElement} root @param {string} title @param {string} cls */
function openDialog(root, title, cls) {
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  const id = `fz-dialog-${++made}`;
  const dialog = /** @type {HTMLDialogElement} */ (
    make("dialog", `fz-dialog ${cls}`, undefined, { "aria-labelledby": id })
  );
  const head = make("div", "fz-dialog-head");
  const close = make("button", "fz-button", "Close", { type: "button" });
  close.addEventListener("click", () => dialog.close());
  head.append(make("h2", "fz-dialog-title", title, { id }), close);
  dialog.append(head);
  dialog.addEventListener("close", () => {
    dialog.remove();
    giveFocusBack(root, before);
  });
  // A press on the ground behind it.
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  root.append(dialog);
  dialog.showModal();
  close.focus();
  return dialog;
}

/** The list of keys. @param {HTMLElement} root */
export function showKeys(root) {
  const dialog = openDialog(root, "Keys", "fz-keys");
  dialog.append(make("p", "fz-soft", "In the tree, while a row has the focus. Undo, redo and those of run and plots: anywhere but in a field."));
  const groups = make("div", "fz-key-groups");
  const group = (/** @type {string} */ title, /** @type {[string[], string][]} */ lines) => {
    const box = make("section", "");
    const list = make("dl", "fz-key-list");
    for (const [keys, label] of lines) {
      const line = make("div", "fz-key-line");
      const names = make("dt", "");
      keys.forEach((key, k) => {
        if (k) names.append(" ");
        names.append(make("kbd", "", key));
      });
      line.append(names, make("dd", "", label));
      list.append(line);
    }
    box.append(make("h3", "", title), list);
    groups.append(box);
  };
  group(
    "Move",
    MOVES.map(([key, label]) => [[key], label]),
  );
  for (const title of new Set(ACTIONS.map((action) => action.group))) {
    const lines = ACTIONS.filter((action) => action.group === title && action.keys);
    group(
      title,
      lines.map((action) => [(action.keys ?? []).map(keyLabel), action.label]),
    );
  }
  dialog.append(groups);
}

/** A text to take along, copied if the page may. @param {HTMLElement} root @param {string} title @param {string} text */
export async function showText(root, title, text) {
  const dialog = openDialog(root, title, "fz-code");
  const area = /** @type {HTMLTextAreaElement} */ (
    make("textarea", "fz-code-text", undefined, {
      readonly: "",
      "aria-label": title,
      spellcheck: "false",
      rows: "12",
    })
  );
  area.value = text;
  const foot = make("div", "fz-dialog-foot");
  const said = make("span", "fz-soft", "", { role: "status" });
  const again = make("button", "fz-button fz-primary", "Copy", { type: "button" });
  const copy = async () => {
    const done = await copyText(text);
    setText(said, done ? "On the clipboard." : "This page may not use the clipboard: press Ctrl+C.");
    if (!done) {
      area.focus();
      area.select();
    }
  };
  again.addEventListener("click", copy);
  foot.append(again, said);
  dialog.append(area, foot);
  await copy();
}
