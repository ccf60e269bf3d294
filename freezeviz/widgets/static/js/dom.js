// @ts-check
/** Small tools for elements. */
import { action, keyLabel } from "./actions.js";

/** An element with a class, attributes and text. @param {string} tag @param {string} [cls] @param {string} [text]
 * @param {Record<string, string>} [attributes] */
export function make(tag, cls, text, attributes) {
  const element = document.createElement(tag);
  if (cls) element.className = cls;
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  return element;
}

/** Set text only when it differs: an unchanged node costs no layout and is not announced again.
 * @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Element} element @param {string} name @param {string | null} value */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A button that sends an action. @param {string} action @param {string} label @param {string} [title] */
export function button(action, label, title) {
  const element = /** @type {HTMLButtonElement} */ (
    make("button", "fz-button", label, { type: "button", "data-action": action })
  );
  if (title) element.title = title;
  return element;
}

/** A button that opens a menu. @param {string} action @param {string} label */
export function menuButton(action, label) {
  const opener = button(action, label);
  opener.classList.add("fz-opens");
  opener.setAttribute("aria-haspopup", "menu");
  opener.setAttribute("aria-expanded", "false");
  return opener;
}

/** An SVG element with attributes. @param {string} tag @param {Record<string, string>} attributes */
export function makeSvg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** A button with a picture; its name is read out and shown on hover. @param {string} action @param {string} label
 * @param {string} icon */
export function iconButton(action, label, icon) {
  const element = button(action, "", label);
  element.classList.add("fz-icon-button");
  element.setAttribute("aria-label", label);
  element.append(make("span", `fz-glyph fz-glyph-${icon}`, undefined, { "aria-hidden": "true" }));
  return element;
}

/** Tell the keys of what an element does: in its title, and to those who hear the page. @param {HTMLElement} element
 * @param {string[]} ids of actions @param {string} [title] */
export function tellKeys(element, ids, title = action(ids[0]).label) {
  const keys = ids.flatMap((id) => action(id).keys ?? []);
  if (!keys.length) return;
  element.setAttribute("aria-keyshortcuts", keys.join(" "));
  element.title = `${title} (${ids.map((id) => keyLabel(action(id).keys?.[0] ?? "")).join(" ")})`;
}

/** Whether one types in an element. @param {Element} element */
export function isTextField(element) {
  return element.matches("textarea, input:not([type=checkbox], [type=range])");
}

/** Text for those who hear the page. @param {string} text */
export function unseen(text) {
  return make("span", "fz-unseen", text);
}

/** A box that scrolls has to be reached by keyboard; one whose content fits would be a stop for nothing.
 * @param {HTMLElement} box @param {string} label what it holds, for those who hear the page */
export function reachable(box, label) {
  setAttribute(box, "role", "group");
  setAttribute(box, "aria-label", label);
  const look = () => {
    const over = box.scrollHeight > box.clientHeight + 1 || box.scrollWidth > box.clientWidth + 1;
    setAttribute(box, "tabindex", over ? "0" : null);
  };
  new ResizeObserver(look).observe(box);
  new MutationObserver(look).observe(box, { childList: true, characterData: true, subtree: true });
}

/** A control with the focus that cannot be used any more hands it to its neighbour, not to nowhere.
 * @param {HTMLElement} box */
export function passFocusOn(box) {
  const active = /** @type {HTMLButtonElement | null} */ (document.activeElement);
  if (!active?.disabled || !box.contains(active)) return;
  const all = /** @type {HTMLButtonElement[]} */ ([...box.querySelectorAll("button, input")]);
  const at = all.indexOf(active);
  [...all.slice(at + 1), ...all.slice(0, at).reverse()]
    .find((other) => other.localName === "button" && !other.disabled && !other.hidden)
    ?.focus({ preventScroll: true });
}

/** Give the focus back; to the tree where the element is there no more. @param {HTMLElement} root
 * @param {HTMLElement | null} element */
export function giveFocusBack(root, element) {
  const row = /** @type {HTMLElement | null} */ (root.querySelector('.fz-row[tabindex="0"]'));
  (element?.isConnected ? element : row)?.focus({ preventScroll: true });
}

/** Put a text on the clipboard; false where the page may not. @param {string} text */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // not allowed in this frame, or not a secure context
  }
}

/** Give a file to the browser. @param {HTMLElement} root @param {string} name @param {string} mime @param {DataView} data */
export function download(root, name, mime, data) {
  const url = URL.createObjectURL(new Blob([/** @type {any} */ (data)], { type: mime }));
  const link = make("a", "", undefined, { href: url, download: name });
  root.append(link); // Firefox wants it in the document
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
