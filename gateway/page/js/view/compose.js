// Where one writes.

import { el } from "./dom.js";
import { icon } from "./icons.js";

/** More than a frame holds is refused by the server; this is far below, so that it never comes to that. */
const LONGEST = 8_000;

export class Compose {
  /** `send(text)` is called with what was written; `up()` when the arrow key leaves an empty field upwards. */
  constructor(conversation, { send, up }) {
    Object.assign(this, { conversation, send, up });
    this.input = el("textarea", {
      rows: "1", maxlength: String(LONGEST), placeholder: `Message ${conversation.title}`, "aria-label": "Message", enterkeyhint: "send",
    });
    this.input.addEventListener("input", () => this.#typed());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.input.addEventListener("blur", () => conversation.typist.stopped());
    this.button = el("button", { class: "send", "aria-label": "Send", disabled: true }, icon("send"));
    this.node = el("form", { class: "compose", onsubmit: (event) => { event.preventDefault(); this.submit(); } }, this.input, this.button);
  }

  /** What stands there, which is then gone from the field. */
  take() {
    const text = this.input.value.trim();
    this.input.value = "";
    this.#fit();
    return text;
  }

  submit() {
    const text = this.take();
    if (text) this.send(text);
    this.input.focus();
  }

  #key(event) {
    // While an input method composes, Enter is its own.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "ArrowUp" && !this.input.value) {
      event.preventDefault();
      this.up();
    }
  }

  #typed() {
    this.#fit();
    if (this.input.value.trim()) this.conversation.typist.typed();
    else this.conversation.typist.stopped();
  }

  #fit() {
    this.button.disabled = !this.input.value.trim();
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
  }
}
