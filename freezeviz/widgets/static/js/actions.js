// @ts-check
/** Everything that can be done, once: menus, keys and the list of keys are made of it.
 *
 * `kernel`: it needs one that answers. `everywhere`: its keys work in all parts of a view, but not where one types;
 * those of the others work in the tree.
 * @typedef {{id: string, label: string, group: string, keys?: string[], kernel?: boolean, everywhere?: boolean}} Action
 */

/** @type {Action[]} */
export const ACTIONS = [
  { id: "toggle", label: "Freeze or unfreeze", group: "Freeze", keys: ["Enter", "Space"], kernel: true },
  { id: "freeze", label: "Freeze", group: "Freeze", keys: ["Shift+F"], kernel: true },
  { id: "unfreeze", label: "Unfreeze", group: "Freeze", keys: ["Shift+U"], kernel: true },
  {
    id: "hold",
    label: "Hold or release (statistics, dropout)",
    group: "Freeze",
    keys: ["Shift+H"],
    kernel: true,
  },
  { id: "lock", label: "Lock or unlock against changes", group: "Freeze", keys: ["Shift+L"], kernel: true },
  { id: "up_to", label: "Freeze everything up to here", group: "Freeze", keys: ["Shift+T"], kernel: true },
  { id: "after", label: "Freeze everything after here", group: "Freeze", keys: ["Shift+R"], kernel: true },
  { id: "freeze_all", label: "Freeze all", group: "Freeze", keys: ["Shift+A"], kernel: true },
  { id: "unfreeze_all", label: "Unfreeze all", group: "Freeze", keys: ["Shift+N"], kernel: true },
  { id: "presets", label: "Presets", group: "Freeze", keys: ["Shift+P"], kernel: true },
  { id: "undo", label: "Undo", group: "Freeze", keys: ["Control+Z"], kernel: true, everywhere: true },
  {
    id: "redo",
    label: "Redo",
    group: "Freeze",
    keys: ["Control+Y", "Control+Shift+Z"],
    kernel: true,
    everywhere: true,
  },

  { id: "search", label: "Search", group: "Find", keys: ["/", "Control+F"] },
  { id: "next", label: "Next found row", group: "Find", keys: ["F3"] },
  { id: "previous", label: "Previous found row", group: "Find", keys: ["Shift+F3"] },
  { id: "filter", label: "Filter rows", group: "Find", keys: ["Shift+G"] },
  { id: "selector", label: "Selector, with preview", group: "Find", keys: ["Shift+S"] },

  {
    id: "select",
    label: "Select or deselect the row",
    group: "Select",
    keys: ["Shift+Space", "Control+Space"],
  },
  { id: "select_down", label: "Extend the selection down", group: "Select", keys: ["Shift+ArrowDown"] },
  { id: "select_up", label: "Extend the selection up", group: "Select", keys: ["Shift+ArrowUp"] },
  { id: "select_all", label: "Select all rows that show", group: "Select", keys: ["Control+A"] },
  { id: "select_kind", label: "Select all rows of its type", group: "Select", keys: ["="] },
  { id: "deselect", label: "Deselect", group: "Select", keys: ["Escape"] },

  { id: "expand", label: "Expand all", group: "View", keys: ["*", "Shift+E"] },
  { id: "collapse", label: "Collapse all", group: "View", keys: ["Shift+C"] },
  { id: "details", label: "Details of the row", group: "View", keys: ["Shift+D"] },
  { id: "columns", label: "Columns", group: "View", keys: ["Shift+V"] },
  { id: "menu", label: "Menu of the row", group: "View", keys: ["Shift+M", "Shift+F10", "ContextMenu"] },
  { id: "tied", label: "Go to the row it shares its array with", group: "View", keys: ["Shift+J"] },

  { id: "code", label: "Copy as code", group: "Code", keys: ["Shift+Y"], kernel: true },
  { id: "policy", label: "Copy as policy (JSON)", group: "Code", keys: ["Shift+O"], kernel: true },
  { id: "path", label: "Copy the path", group: "Code", keys: ["Control+C"] },
  { id: "keys", label: "Keys", group: "Code", keys: ["?"] },

  { id: "start", label: "Start the run", group: "Run", keys: ["Shift+B"], kernel: true, everywhere: true },
  { id: "pause", label: "Pause or resume", group: "Run", keys: ["Shift+W"], kernel: true, everywhere: true },
  { id: "stop", label: "Stop the run", group: "Run", keys: ["Shift+Q"], kernel: true, everywhere: true },

  { id: "plot", label: "Next plot: curves, gradients, cost", group: "Plots", keys: [";"], everywhere: true },
  { id: "axis", label: "x axis: step, epoch, time", group: "Plots", keys: ["Shift+X"], everywhere: true },
  { id: "log", label: "Log scale", group: "Plots", keys: ["Shift+K"], everywhere: true },
  { id: "rougher", label: "Smooth less", group: "Plots", keys: [","], everywhere: true },
  { id: "smoother", label: "Smooth more", group: "Plots", keys: ["."], everywhere: true },
  { id: "table", label: "Plot or table", group: "Plots", keys: ["Shift+I"], everywhere: true },
  { id: "png", label: "Save the plot as PNG", group: "Plots", keys: ["F8"], kernel: true, everywhere: true },
  {
    id: "svg",
    label: "Save the plot as SVG",
    group: "Plots",
    keys: ["Shift+F8"],
    kernel: true,
    everywhere: true,
  },
  {
    id: "csv",
    label: "Save all numbers as CSV",
    group: "Plots",
    keys: ["Shift+Z"],
    kernel: true,
    everywhere: true,
  },
];

/** What is held down does again; of the others a key that repeats is one press. */
export const REPEATED = ["select_down", "select_up", "next", "previous", "rougher", "smoother"];

/** What a field that has the focus does with its own text instead. */
export const UNDOING = ["undo", "redo"];

/** Presets that are about a place: the row with the focus. */
export const AT_ROW = ["up_to", "after"];

/** Keys of the tree itself, for the list of keys. @type {[string, string][]} */
export const MOVES = [
  ["↑ ↓", "Row by row"],
  ["→ ←", "Open and close; in and out"],
  ["Page ↑ ↓, Home, End", "Far; with Shift, selecting"],
  ["a, b, c …", "To the next row that begins so"],
];

/** @param {string} id @returns {Action} */
export function action(id) {
  const found = ACTIONS.find((other) => other.id === id);
  if (!found) throw new Error(`no action ${id}`);
  return found;
}

/** The action of a key. @param {string} name see keyName */
export function actionOf(name) {
  return ACTIONS.find((other) => other.keys?.includes(name)) ?? null;
}

/** "Control+Shift+Z" -> "Ctrl+Shift+Z", as people read it. @param {string} name */
export function keyLabel(name) {
  return name
    .replace("Control", "Ctrl")
    .replace("ArrowDown", "↓")
    .replace("ArrowUp", "↑")
    .replace("ContextMenu", "Menu key");
}
