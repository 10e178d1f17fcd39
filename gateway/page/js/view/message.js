// One line of a conversation: a message that is stored, or one that is on its way.

import { avatar } from "./avatar.js";
import { arrows, el } from "./dom.js";
import { icon } from "./icons.js";
import { exactly, timeOfDay } from "./time.js";

const REACTIONS = ["👍", "❤️", "😂", "🎉", "👀", "🔥"];
const STATES = { sending: ["clock", "Sending"], sent: ["sent", "Sent"], read: ["read", "Read"], failed: ["alert", "Not sent"] };

/** What stays the same from the optimistic line to the stored message, so that the line does not jump or blink. */
export const keyOf = (item, user) => (item.sender_id !== user ? item.id : `mine-${item.client_random}`);

export class Line {
  #shown = [];

  constructor(conversation) {
    this.conversation = conversation;
    this.node = el("li", { class: "line", tabindex: "-1" });
  }

  /** `item` is a message or an entry of the outbox; `head` and `foot`: whether it begins and ends a run of one person's. */
  update(item, { head, foot }) {
    const { conversation } = this;
    const stored = Boolean(item.id);
    const mine = !stored || item.sender_id === conversation.client.user;
    const readers = stored && mine ? conversation.readers(item) : [];
    const state = !mine ? undefined : !stored ? item.state : readers.length > 0 ? "read" : "sent";
    // A message that changed is another object.
    const shown = [item, head, foot, readers.length, state];
    if (shown.every((one, n) => one === this.#shown[n])) return;
    this.#shown = shown;
    const { reaction, tool } = this.node.contains(document.activeElement) ? document.activeElement.dataset : {};
    this.node.className = ["line", mine && "mine", head && "head", foot && "foot", state].filter(Boolean).join(" ");
    this.node.dataset.seq = item.seq ?? "";
    this.node.replaceChildren(...this.#parts({ item, head, foot, readers, state }, { mine, stored }));
    // What had the focus is new; who works by keyboard must not notice.
    const again = reaction ? `[data-reaction="${CSS.escape(reaction)}"]` : tool && `[data-tool="${CSS.escape(tool)}"]`;
    if (again) {
      // The line first: its tools can take the focus only while it is inside.
      this.node.focus();
      this.node.querySelector(again)?.focus();
    }
  }

  #parts({ item, head, foot, readers, state }, { mine, stored }) {
    const group = this.conversation.type !== "direct";
    return [
      group && !mine && el("span", { class: "face" }, foot && avatar(item.sender_id, { small: true })),
      el(
        "div",
        { class: "stack" },
        el("span", { class: group && head && !mine ? "sender" : "sr" }, mine ? "You" : item.sender_id),
        this.#bubble(item, state, readers),
        stored && this.#reactions(item),
        state === "failed" && this.#failed(item),
      ),
      stored && this.#tools(item),
    ].filter(Boolean);
  }

  #bubble(item, state, readers) {
    const at = item.sent_at ?? item.written_at;
    const [name, word] = STATES[state] ?? [];
    const by = state === "read" && this.conversation.type !== "direct" ? ` by ${readers.join(", ")}` : "";
    return el(
      "div",
      { class: "bubble" },
      el("span", { class: "text" }, item.content),
      el(
        "span",
        { class: "meta" },
        el("time", { datetime: at, title: exactly(at) }, timeOfDay(at)),
        state && el("span", { class: "state", "data-state": state, title: word + by }, icon(name), el("span", { class: "sr" }, word + by)),
      ),
    );
  }

  #reactions(item) {
    const all = Object.entries(item.reactions);
    if (all.length === 0) return undefined;
    const me = this.conversation.client.user;
    return el("div", { class: "reactions" }, all.map(([reaction, users]) => el(
      "button",
      {
        class: "reaction", "data-reaction": reaction, "aria-pressed": String(users.includes(me)), title: users.join(", "),
        "aria-label": `${reaction} by ${users.join(", ")}`, onclick: () => this.#react(item, reaction),
      },
      el("span", {}, reaction), el("span", { class: "count" }, String(users.length)),
    )));
  }

  #tools(item) {
    const tools = el("div", { class: "tools", role: "toolbar", "aria-label": "React" }, REACTIONS.map((reaction) => el(
      "button", { "data-tool": reaction, "aria-label": `React with ${reaction}`, onclick: () => this.#react(item, reaction) }, reaction,
    )));
    arrows(tools, () => [...tools.children], { next: "ArrowRight", previous: "ArrowLeft" });
    return tools;
  }

  #failed(entry) {
    const { outbox } = this.conversation;
    return el(
      "p",
      { class: "failed-why" },
      entry.why,
      el("button", { class: "link", onclick: () => outbox.retry(entry) }, "Try again"),
      el("button", { class: "link", onclick: () => outbox.discard(entry) }, "Discard"),
    );
  }

  async #react(item, reaction) {
    const { conversation } = this;
    try {
      await conversation.react(conversation.timeline.get(item.id), reaction);
    } catch (error) {
      conversation.client.report(error, "The reaction did not get there");
    }
  }
}
