// Blocking the other one of a direct conversation: a button at its head, and what stands in the place of the field to write
// in as long as one does.

import { el } from "./dom.js";
import { icon } from "./icons.js";

export class Blocking {
  #shown;

  /** `block(user, present)` does it, and tells where it does not come to be. */
  constructor(conversation, block) {
    this.conversation = conversation;
    const [other] = conversation.others;
    const change = () => block(other, !conversation.blocked);
    this.button = el("button", { class: "round", hidden: conversation.type !== "direct", onclick: change }, icon("block"));
    this.unblock = el("button", { class: "secondary", onclick: change }, "Unblock");
    this.bar = el("div", { class: "blocked-bar", hidden: true }, el("p", { role: "status" }, `You blocked ${other}.`), this.unblock);
  }

  /** `compose` is the field to write in; what stands there stays. */
  update(compose) {
    const { blocked } = this.conversation;
    if (blocked === this.#shown) return;
    this.#shown = blocked;
    const word = blocked ? "Unblock" : "Block";
    this.button.title = word;
    this.button.setAttribute("aria-label", word);
    this.button.classList.toggle("on", blocked);
    // What is hidden loses the focus.
    const focused = [compose.node, this.bar].some((node) => node.contains(document.activeElement));
    compose.node.hidden = blocked;
    this.bar.hidden = !blocked;
    if (focused) (blocked ? this.unblock : compose.input).focus();
  }
}
