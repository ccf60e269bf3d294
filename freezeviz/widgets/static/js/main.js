// @ts-check
/** The notebook face of freezeviz: what anywidget calls.
 * @typedef {import("./wire.js").Model} Model
 */
import { View } from "./view.js";

/** @param {{model: Model, el: HTMLElement}} context */
function show({ model, el }) {
  const view = new View(model, el);
  return () => view.dispose();
}

export default { render: show };
