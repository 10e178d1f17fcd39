// One line of a conversation: a message that is stored, or one that is on its way.

import { isGone } from "../client/timeline.js";
import { avatar } from "./avatar.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";
import { written } from "./mention.js";
import { quote } from "./quote.js";
import { exactly, timeOfDay } from "./time.js";
import { tools } from "./tools.js";

const STATES = {
  sending: ["clock", "Sending"], sent: ["sent", "Sent"], delivered: ["read", "Delivered"], read: ["read", "Read"], failed: ["alert", "Not sent"],
};

/** What stays the same from the optimistic line to the stored message, so that the line does not jump or blink. */
export const keyOf = (item, user) => (item.sender_id !== user ? item.id : `mine-${item.client_random}`);

/** What stands in a message's place. In a direct conversation it may be hidden because one had blocked who wrote it. */
export function goneWords({ hidden, sender_id }, { type, client }) {
  if (!hidden) return "This message was deleted";
  return type === "direct" && sender_id !== client.user ? "Hidden from you" : "You deleted this message";
}

export class Line {
  #shown = [];

  /** `actions` are what the conversation does with a message: `{reply, edit, remove, receipts, jump}`. */
  constructor(conversation, actions) {
    Object.assign(this, { conversation, actions });
    this.node = el("li", { class: "line", tabindex: "-1" });
  }

  /** `item` is a message or an entry of the outbox; `head` and `foot`: whether it begins and ends a run of one person's. */
  update(item, { head, foot }) {
    const { conversation } = this;
    const stored = Boolean(item.id);
    const gone = isGone(item);
    const mine = !stored || item.sender_id === conversation.client.user;
    const { others, receipts } = conversation;
    const readers = stored && mine && !gone ? receipts.readers(others, item.seq) : [];
    const state = !mine || gone ? undefined : stored ? receipts.state(others, item.seq) : item.state;
    const quoted = conversation.timeline.quote(item);
    // A message that changed is another object.
    const shown = [item, head, foot, readers.length, state, quoted?.preview, conversation.blocked];
    if (shown.every((one, n) => one === this.#shown[n])) return;
    this.#shown = shown;
    const { reaction, tool } = this.node.contains(document.activeElement) ? document.activeElement.dataset : {};
    this.node.className = ["line", mine && "mine", head && "head", foot && "foot", gone && "gone", state].filter(Boolean).join(" ");
    this.node.dataset.seq = item.seq ?? "";
    this.node.replaceChildren(...this.#parts({ item, head, foot, gone, readers, state, quoted }, { mine, stored }));
    this.#refocus(reaction ? `[data-reaction="${CSS.escape(reaction)}"]` : tool && `[data-tool="${CSS.escape(tool)}"]`);
  }

  /** What had the focus is new; who works by keyboard must not notice. */
  #refocus(again) {
    if (!again) return;
    // The line first: its tools can take the focus only while it is inside.
    this.node.focus();
    this.node.querySelector(again)?.focus();
  }

  #parts({ item, head, foot, gone, readers, state, quoted }, { mine, stored }) {
    const group = this.conversation.type !== "direct";
    return [
      group && !mine && el("span", { class: "face" }, foot && avatar(item.sender_id, { small: true })),
      el(
        "div",
        { class: "stack" },
        el("span", { class: group && head && !mine ? "sender" : "sr" }, mine ? "You" : item.sender_id),
        this.#bubble({ item, gone, state, readers, quoted }),
        stored && this.#reactions(item),
        state === "failed" && this.#failed(item),
      ),
      stored && !gone && this.#tools(item, mine),
    ].filter(Boolean);
  }

  #bubble({ item, gone, state, readers, quoted }) {
    const at = item.sent_at ?? item.written_at;
    const [name, word] = STATES[state] ?? [];
    const by = state === "read" && this.conversation.type !== "direct" ? ` by ${readers.join(", ")}` : "";
    return el(
      "div",
      { class: "bubble" },
      quoted && quote(quoted, this.conversation.client.user, () => this.actions.jump(quoted.seq)),
      el("span", { class: "text" }, gone ? goneWords(item, this.conversation) : written(item, this.conversation.client.user)),
      el(
        "span",
        { class: "meta" },
        item.edited_at && !gone && el("span", { class: "edited", title: `Edited ${exactly(item.edited_at)}` }, "edited"),
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

  #tools(item, mine) {
    const { conversation, actions } = this;
    return tools({
      react: !conversation.blocked && ((reaction) => this.#react(item, reaction)),
      reply: !conversation.blocked && (() => actions.reply(item)),
      edit: conversation.editable(item) && (() => actions.edit(item)),
      receipts: mine && (() => actions.receipts(item)),
      remove: () => actions.remove(item),
    });
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
