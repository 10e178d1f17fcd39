// A dialog with a heading and a button that closes it. Escape closes it, too, and the focus goes back to where it was.

import { el } from "./dom.js";
import { icon } from "./icons.js";

let count = 0;

export class Dialog {
  constructor(title) {
    const id = `dialog-${(count += 1)}`;
    this.heading = el("h2", { id }, title);
    this.node = el(
      "dialog",
      { class: "dialog", "aria-labelledby": id },
      el("header", {}, this.heading, el("button", { class: "round", "aria-label": "Close", onclick: () => this.close() }, icon("close"))),
    );
  }

  show() {
    const from = document.activeElement;
    const line = from.closest(".line");
    this.node.showModal();
    // A message's buttons can take the focus only while it is in the message: the browser's own way back fails.
    this.node.addEventListener("close", () => [line, line && from].forEach((node) => node?.focus()), { once: true });
  }

  close() {
    this.node.close();
  }
}
