// Names in messages: shown as such, and offered while one is being written.

import { begunAt, mentionsOf, namesIn } from "../client/mentions.js";
import { avatar } from "./avatar.js";
import { el } from "./dom.js";

const OFFERED = 6;

/** A message's text, with those who are named in it marked. */
export function written(item, user) {
  const parts = [];
  let at = 0;
  for (const { start, end, user: named } of namesIn(item.content, mentionsOf(item))) {
    parts.push(item.content.slice(at, start), el("mark", { class: named === user ? "mention me" : "mention" }, item.content.slice(start, end)));
    at = end;
  }
  return [...parts, item.content.slice(at)];
}

/** Offers members while `@` and the beginning of a name stand before the cursor. */
export class Offer {
  #offered = [];
  #at = 0;

  /** `users()` are those who may be named; `changed()` is called when a name was put into the field. */
  constructor(input, { users, changed }) {
    Object.assign(this, { input, users, changed });
    this.list = el("ul", { class: "offer", id: "offer", role: "listbox", "aria-label": "Members to name", hidden: true });
    this.said = el("p", { class: "sr", role: "status" });
    for (const [name, value] of [["autocomplete", "list"], ["haspopup", "listbox"], ["controls", "offer"]]) input.setAttribute(`aria-${name}`, value);
    for (const event of ["input", "click"]) input.addEventListener(event, () => this.#look());
    input.addEventListener("keyup", ({ key }) => ["ArrowLeft", "ArrowRight", "Home", "End"].includes(key) && this.#look());
    input.addEventListener("blur", () => this.close());
  }

  /** Whether the key was for the list. */
  key(event) {
    const count = this.#offered.length;
    if (count === 0 || event.isComposing) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#point((this.#at + step + count) % count);
    else if (event.key === "Enter" || event.key === "Tab") this.#choose(this.#offered[this.#at]);
    else if (event.key === "Escape") this.close();
    else return false;
    event.preventDefault();
    return true;
  }

  close() {
    this.#show([]);
  }

  #look() {
    const { value, selectionStart, selectionEnd } = this.input;
    const begun = selectionStart === selectionEnd ? begunAt(value, selectionStart) : undefined;
    const prefix = begun?.prefix.toLowerCase();
    const fitting = begun ? this.users().filter((user) => user.toLowerCase().startsWith(prefix)) : [];
    // A name that is written out needs no choice: Enter sends.
    this.#show(fitting.length === 1 && fitting[0] === begun.prefix ? [] : fitting.slice(0, OFFERED));
  }

  #show(users) {
    const same = users.length === this.#offered.length && users.every((user, n) => user === this.#offered[n]);
    if (same) return;
    this.#offered = users;
    this.list.hidden = users.length === 0;
    this.list.replaceChildren(...users.map((user, n) => el(
      // Before the field loses the focus.
      "li", { id: `offer-${n}`, role: "option", onmousedown: (event) => { event.preventDefault(); this.#choose(user); } },
      avatar(user, { small: true }), user,
    )));
    this.said.textContent = users.length === 0 ? "" : users.length === 1 ? `${users[0]}: Enter names them` : `${users.length} members to choose from`;
    if (users.length > 0) this.#point(0);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #point(at) {
    this.#at = at;
    [...this.list.children].forEach((option, n) => option.setAttribute("aria-selected", String(n === at)));
    this.input.setAttribute("aria-activedescendant", `offer-${at}`);
    this.list.children[at].scrollIntoView({ block: "nearest" });
  }

  #choose(user) {
    const { value, selectionStart } = this.input;
    const { start } = begunAt(value, selectionStart);
    this.input.setRangeText(`@${user} `, start, selectionStart, "end");
    this.close();
    this.changed();
  }
}
