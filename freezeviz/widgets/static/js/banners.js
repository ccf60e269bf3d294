// @ts-check
/** Boxes above everything for what must not be missed. */
import { make, reachable } from "./dom.js";

const URGENT = ["error", "gone"];

/** Show, change or (title null) remove a banner. @param {HTMLElement} box of all banners @param {string} name
 * @param {string | null} title @param {string} text @param {HTMLElement | null} [action] */
export function setBanner(box, name, title, text, action = null) {
  const old = box.querySelector(`[data-banner=${name}]`);
  if (title === null) {
    old?.remove();
    return;
  }
  const key = `${title}\n${text}\n${action ? 1 : 0}`;
  if (old?.getAttribute("data-key") === key) return;
  old?.remove();
  const banner = make("div", "fz-banner", undefined, {
    "data-banner": name,
    "data-key": key,
    role: URGENT.includes(name) ? "alert" : "status",
  });
  const words = make("div", "fz-words");
  const said = make("span", "fz-text", text);
  reachable(said, title);
  words.append(make("strong", "", title), said);
  banner.append(words);
  if (action) banner.append(action);
  box.append(banner);
}
