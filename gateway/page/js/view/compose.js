// Where one writes.

import { isGone } from "../client/timeline.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";
import { Offer } from "./mention.js";

/** More than a frame holds is refused by the server; this is far below, so that it never comes to that. */
const LONGEST = 8_000;

export class Compose {
  /** What is being answered or edited: `{what: "reply" or "edit", message}`. */
  intent;
  /** What stood in the field before the editing began. */
  #kept = "";

  /**
   * `send(text, reply_to)` is called with what was written, and the message that it answers; `save(message, text)` with what
   * one is to become, and rejects where it did not; `up()` when the arrow key leaves an empty field upwards.
   */
  constructor(conversation, { send, save, up }) {
    Object.assign(this, { conversation, send, save, up });
    this.input = el("textarea", {
      rows: "1", maxlength: String(LONGEST), "aria-label": "Message", enterkeyhint: "send",
      "aria-describedby": "compose-intent",
    });
    this.input.addEventListener("input", () => this.#typed());
    this.input.addEventListener("keydown", (event) => this.offer.key(event) || this.#key(event));
    this.offer = new Offer(this.input, { users: () => conversation.others, changed: () => this.#typed() });
    this.input.addEventListener("blur", () => conversation.typist.stopped());
    this.button = el("button", { class: "send", "aria-label": "Send", disabled: true }, icon("send"));
    this.bar = el("p", { class: "intent", id: "compose-intent", role: "status" });
    this.cancelling = el("button", { type: "button", class: "round cancel", hidden: true, onclick: () => this.cancel() }, icon("close"));
    this.node = el(
      "form",
      { class: "compose", onsubmit: (event) => { event.preventDefault(); this.submit(); } },
      el("div", { class: "intent-row" }, this.bar, this.cancelling),
      this.offer.list,
      this.offer.said,
      this.input,
      this.button,
    );
  }

  /** Answers a message, or edits one's own, until it is sent or cancelled. */
  begin(what, message) {
    if (this.intent?.what === "edit") this.#put(this.#kept);
    this.intent = { what, message };
    if (what === "edit") {
      this.#kept = this.input.value;
      this.#put(message.content);
    }
    this.#show();
    this.input.focus();
  }

  cancel() {
    const editing = this.intent?.what === "edit";
    this.intent = undefined;
    if (editing) this.#put(this.#kept);
    this.#show();
    this.input.focus();
  }

  /** The conversation may be called otherwise; the message may have changed, or be gone. */
  update() {
    const placeholder = `Message ${this.conversation.title}`;
    if (this.input.placeholder !== placeholder) this.input.placeholder = placeholder;
    if (!this.intent) return;
    const message = this.conversation.timeline.get(this.intent.message.id);
    if (isGone(message)) this.cancel();
    else if (this.intent.what === "reply" && message.content !== this.intent.message.content) {
      this.intent.message = message;
      this.#show();
    }
  }

  #show() {
    const { what, message } = this.intent ?? {};
    const who = message?.sender_id === this.conversation.client.user ? "yourself" : message?.sender_id;
    const words = { reply: `Replying to ${who}`, edit: "Editing" }[what];
    this.bar.replaceChildren(...(words ? [el("strong", {}, words), " ", el("span", { class: "quoted" }, message.content)] : []));
    this.cancelling.hidden = !words;
    this.cancelling.setAttribute("aria-label", what === "edit" ? "Cancel the editing" : "Cancel the reply");
    this.button.setAttribute("aria-label", what === "edit" ? "Save" : "Send");
  }

  #put(text) {
    this.input.value = text;
    this.#fit();
  }

  /** What stands there, which is then gone from the field. */
  take() {
    const text = this.input.value.trim();
    this.#put("");
    return text;
  }

  submit() {
    const { intent } = this;
    if (!this.input.value.trim()) return;
    if (intent?.what === "edit") this.#save(intent);
    else this.send(this.take(), this.answered());
    this.input.focus();
  }

  /** The message that is answered, if any; from then on none is. */
  answered() {
    const message = this.intent?.what === "reply" ? this.intent.message : undefined;
    if (message) this.cancel();
    return message;
  }

  async #save(intent) {
    const text = this.input.value.trim();
    this.cancel();
    try {
      if (text !== intent.message.content) await this.save(intent.message, text);
    } catch (error) {
      this.conversation.client.report(error, "The message is as it was");
      // What was written is not lost, unless something else has been begun.
      if (!this.intent && !this.input.value) {
        this.begin("edit", intent.message);
        this.#put(text);
      }
    }
  }

  #key(event) {
    // While an input method composes, Enter is its own.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "Escape" && this.intent) {
      event.preventDefault();
      this.cancel();
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
