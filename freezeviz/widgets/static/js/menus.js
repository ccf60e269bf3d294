// @ts-check
/** What stands in the menus.
 * @typedef {import("./menu.js").Item} Item
 * @typedef {import("./modelpanel.js").ModelPanel} ModelPanel
 */
import { AT_ROW, action, keyLabel } from "./actions.js";
import { ALWAYS, COLUMNS } from "./columns.js";
import { pathOf } from "./tree.js";
import { BIT_HELD, BIT_LOCKED } from "./wire.js";

/** @param {ModelPanel} panel @param {string} id @param {string} [label] @param {boolean} [disabled] @returns {Item} */
function item(panel, id, label, disabled) {
  const { keys, kernel, label: usual } = action(id);
  return {
    label: label ?? usual,
    key: keys ? keyLabel(keys[0]) : undefined,
    disabled: disabled ?? (panel.dead && kernel === true),
    run: () => void panel.act(id),
  };
}

/** @param {ModelPanel} panel @returns {Item[]} */
export function moreItems(panel) {
  return [
    item(panel, "code"),
    item(panel, "policy"),
    item(panel, "path"),
    null,
    item(panel, "details"),
    item(panel, "keys"),
  ];
}

/** @param {ModelPanel} panel @returns {Item[]} */
export function presetItems(panel) {
  const here = pathOf(panel.grid.tree, panel.grid.focus);
  return Object.entries(panel.info.presets ?? {}).map(([name, label]) => {
    const placed = AT_ROW.includes(name);
    return {
      label: placed && here ? `${label}: ${here}` : label,
      key: placed ? keyLabel(action(name).keys?.[0] ?? "") : undefined,
      disabled: panel.dead || (placed && !here),
      title: placed && !here ? "Choose a row first" : undefined,
      run: () => panel.preset(name),
    };
  });
}

/** @param {ModelPanel} panel @returns {Item[]} */
export function columnItems(panel) {
  return COLUMNS.filter((column) => !ALWAYS.includes(column.key)).map((column) => ({
    label: column.says,
    checked: panel.grid.columns.includes(column.key),
    stays: true,
    run: () => panel.flipColumn(column.key),
  }));
}

/** @param {ModelPanel} panel @returns {Item[]} */
export function rowItems(panel) {
  const { grid } = panel;
  const none = panel.dead || panel.targets().every((i) => (grid.state[i] & 3) === 3);
  const placed = !panel.dead && grid.selection.count <= 1 && grid.focus !== 0;
  const held = panel.allHave(BIT_HELD);
  const locked = panel.allHave(BIT_LOCKED);
  return [
    item(panel, "freeze", "Freeze", none),
    item(panel, "unfreeze", "Unfreeze", none),
    item(panel, "hold", held ? "Release" : "Hold: statistics and dropout too"),
    item(panel, "lock", locked ? "Unlock" : "Lock against changes"),
    null,
    item(panel, "up_to", undefined, !placed),
    item(panel, "after", undefined, !placed),
    null,
    item(panel, "select_kind", `Select all of type ${grid.tree.kind(grid.focus)}`),
    ...(grid.tiedTo(grid.focus) ? [item(panel, "tied")] : []),
    item(panel, "details", "Details", panel.dead),
    item(panel, "path"),
  ];
}
