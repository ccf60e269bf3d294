// @ts-check
/** A menu that pops up: at a button, or where the mouse is. One at a time for a view.
 * @typedef {{label: string, run: () => void, key?: string, checked?: boolean, disabled?: boolean, title?: string,
 *   stays?: boolean} | null} Item null is a line between groups
 */
import { giveFocusBack, make, setAttribute } from "./dom.js";

const EDGE = 8; // pixels kept free at the window's edge

export class Menu {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {HTMLElement | null} */ this.box = null;
    /** @type {HTMLElement | null} */ this.opener = null;
    /** Gets the focus afterwards. @type {HTMLElement | null} */ this.before = null;
    this.away = (/** @type {Event} */ event) => {
      const path = event.composedPath();
      if (this.box && !path.includes(this.box) && !(this.opener && path.includes(this.opener)))
        this.close(false);
    };
  }

  get isOpen() {
    return this.box !== null;
  }

  /** Open at a button; a second press closes. What had the focus gets it back: the button that was pressed, or the row
   * from which a key opened it. @param {HTMLElement} button @param {Item[]} items @param {HTMLElement | null} before */
  openAt(button, items, before) {
    if (this.opener === button) return this.close(true);
    const place = button.getBoundingClientRect();
    this.open(
      button,
      items,
      place.left,
      place.bottom + 4,
      button.getAttribute("aria-label") ?? button.textContent ?? "",
      before,
    );
    setAttribute(button, "aria-expanded", "true");
  }

  /** @param {HTMLElement | null} opener @param {Item[]} items @param {number} x @param {number} y of the window
   * @param {string} label @param {HTMLElement | null} [before] */
  open(opener, items, x, y, label, before = opener) {
    this.close(false);
    this.opener = opener;
    this.before = before;
    const box = make("div", "fz-menu", undefined, { role: "menu", "aria-label": label });
    for (const item of items)
      box.append(item ? this.item(item) : make("div", "fz-line-between", undefined, { role: "separator" }));
    this.box = box;
    this.root.append(box);
    // In the top layer nothing cuts it off: a notebook's outputs scroll.
    const above = typeof box.showPopover === "function";
    if (above) {
      box.setAttribute("popover", "manual");
      box.showPopover();
    }
    const size = box.getBoundingClientRect();
    const left = Math.max(EDGE, Math.min(x, window.innerWidth - size.width - EDGE));
    const top =
      y + size.height + EDGE > window.innerHeight
        ? Math.max(EDGE, window.innerHeight - size.height - EDGE)
        : y;
    const from = above ? { left: 0, top: 0 } : this.root.getBoundingClientRect();
    box.style.left = `${left - from.left}px`;
    box.style.top = `${top - from.top}px`;
    this.items()[0]?.focus({ preventScroll: true });
    window.addEventListener("pointerdown", this.away, true);
    window.addEventListener("blur", this.away);
  }

  /** @param {NonNullable<Item>} item */
  item(item) {
    const checkable = item.checked !== undefined;
    const button = /** @type {HTMLButtonElement} */ (
      make("button", "fz-item", undefined, {
        type: "button",
        role: checkable ? "menuitemcheckbox" : "menuitem",
        tabindex: "-1",
      })
    );
    button.append(make("span", "fz-item-label", item.label));
    if (item.key) {
      button.append(make("span", "fz-item-key", item.key, { "aria-hidden": "true" }));
      button.setAttribute("aria-keyshortcuts", item.key.replace("Ctrl", "Control"));
    }
    if (checkable) button.setAttribute("aria-checked", String(item.checked));
    if (item.title) button.title = item.title;
    // Not `disabled`: what cannot be done now can still be read.
    if (item.disabled) button.setAttribute("aria-disabled", "true");
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      if (item.disabled) return;
      if (!item.stays) this.close(true);
      item.run();
      if (item.stays)
        button.setAttribute("aria-checked", String(button.getAttribute("aria-checked") !== "true"));
    });
    return button;
  }

  /** @returns {HTMLElement[]} */
  items() {
    return this.box ? /** @type {HTMLElement[]} */ ([...this.box.querySelectorAll(".fz-item")]) : [];
  }

  /** Whether the key was for the menu. @param {KeyboardEvent} event */
  key(event) {
    const items = this.items();
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const go = (/** @type {number} */ k) =>
      items[(k + items.length) % items.length]?.focus({ preventScroll: true });
    if (event.key === "ArrowDown") go(at + 1);
    else if (event.key === "ArrowUp") go(at < 0 ? -1 : at - 1);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(-1);
    else if (event.key === "Escape" || event.key === "Tab") this.close(true);
    else if (event.key === "Enter" || event.key === " ") items[at]?.click();
    else if (/^[1-9]$/.test(event.key)) items[Number(event.key) - 1]?.click();
    else if (event.key.length === 1) {
      const letter = event.key.toLowerCase();
      const order = [...items.slice(at + 1), ...items.slice(0, at + 1)];
      order
        .find((item) => item.textContent?.toLowerCase().startsWith(letter))
        ?.focus({ preventScroll: true });
    } else return event.key.startsWith("Arrow");
    return true;
  }

  /** @param {boolean} giveBack the focus to what opened it */
  close(giveBack) {
    const { box, opener, before } = this;
    if (!box) return;
    this.box = this.opener = this.before = null;
    window.removeEventListener("pointerdown", this.away, true);
    window.removeEventListener("blur", this.away);
    if (opener?.hasAttribute("aria-haspopup")) opener.setAttribute("aria-expanded", "false");
    box.remove();
    if (giveBack) giveFocusBack(this.root, before);
  }
}
