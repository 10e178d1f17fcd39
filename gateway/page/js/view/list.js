// The conversations, latest first: who, what was said last, how much of it is unread.

import { isGone } from "../client/timeline.js";
import { avatar, avatars } from "./avatar.js";
import { arrows, el, place } from "./dom.js";
import { icon } from "./icons.js";
import { goneWords } from "./message.js";
import { muted } from "./mute.js";
import { brief } from "./time.js";
import { NEWCOMERS } from "./welcome.js";

/** `select(conversation)`, `start()` opens the dialog, `greet(user)` starts with that user; `inviting` is for local stacks. */
export class List {
  #rows = new Map();

  constructor(client, { select, start, greet, inviting }) {
    Object.assign(this, { client, select, greet, inviting });
    this.rows = el("ul", { class: "conversations", role: "list" });
    this.more = el("button", { class: "quiet more", hidden: true, onclick: () => client.loadMore() }, "Show more");
    this.empty = el("div", { class: "list-empty", hidden: true });
    this.node = el(
      "nav",
      { class: "list", "aria-label": "Conversations" },
      el(
        "header",
        { class: "list-head" },
        el("h2", {}, "Conversations"),
        el("button", { class: "round", "aria-label": "New conversation", title: "New conversation", onclick: start }, icon("plus")),
      ),
      this.rows,
      this.more,
      this.empty,
    );
    arrows(this.rows, () => [...this.rows.querySelectorAll("button")]);
  }

  update(current) {
    const { client } = this;
    const list = client.list;
    place(this.rows, list.map((conversation) => this.#row(conversation, conversation === current)));
    for (const id of this.#rows.keys()) if (!client.conversations.has(id)) this.#rows.delete(id);
    this.more.hidden = !client.hasMore;
    this.#updateEmpty(client.loaded && list.length === 0);
  }

  #row(conversation, current) {
    const { id } = conversation;
    let row = this.#rows.get(id);
    if (!row) {
      const button = el("button", { class: "conversation", "data-id": id, onclick: () => this.select(conversation) });
      row = { node: el("li", {}, button), button, shown: "" };
      this.#rows.set(id, row);
    }
    const look = this.#look(conversation);
    const shown = JSON.stringify(look);
    if (current) row.button.setAttribute("aria-current", "true");
    else row.button.removeAttribute("aria-current");
    if (shown !== row.shown) {
      row.shown = shown;
      row.button.classList.toggle("unread", look.unread > 0);
      row.button.classList.toggle("muted", Boolean(look.mutedUntil));
      row.button.title = [look.mentioned && "You are named", look.mutedUntil && muted(look.mutedUntil)].filter(Boolean).join(", ");
      row.button.replaceChildren(...this.#parts(look));
    }
    return row.node;
  }

  #look(conversation) {
    const { client } = this;
    const direct = conversation.type === "direct";
    const last = conversation.last_message;
    const typing = conversation.typists.users;
    const gone = last && isGone(last) && goneWords(last, conversation);
    const from = last && (last.sender_id === client.user ? "You: " : direct ? "" : `${last.sender_id}: `);
    return {
      title: conversation.title,
      faces: conversation.others,
      status: direct ? client.people.status(conversation.others[0]) : undefined,
      typing: typing.length > 0,
      preview: typing.length > 0 ? `${direct ? "" : `${typing[0]} is `}typing…` : last ? gone || `${from}${last.content}` : "No messages yet",
      time: brief(conversation.activity),
      unread: conversation.unread,
      mentioned: conversation.mentioned,
      mutedUntil: conversation.mute.until,
    };
  }

  #parts({ title, faces, status, typing, preview, time, unread, mentioned, mutedUntil }) {
    const [only = this.client.user] = faces;
    return [
      faces.length > 1 ? avatars(faces) : avatar(only, { status }),
      el("span", { class: "title" }, title, status && el("span", { class: "sr" }, `, ${status}`)),
      el("span", { class: "time" }, time),
      el("span", { class: `preview${typing ? " busy" : ""}` }, preview),
      el(
        "span",
        { class: "badges" },
        mutedUntil && el("span", { class: "mute" }, icon("muted"), el("span", { class: "sr" }, "muted, ")),
        mentioned && el("span", { class: "named" }, el("span", { "aria-hidden": "true" }, "@"), el("span", { class: "sr" }, "You are named, ")),
        unread > 0 && el("span", { class: "badge" }, unread > 99 ? "99+" : String(unread), el("span", { class: "sr" }, " unread")),
      ),
    ].filter(Boolean);
  }

  #updateEmpty(empty) {
    if (this.empty.hidden === !empty) return;
    this.empty.hidden = !empty;
    if (!empty) return;
    const others = this.inviting ? NEWCOMERS.filter((name) => name !== this.client.user).slice(0, 2) : [];
    this.empty.replaceChildren(
      el("p", {}, others.length > 0 ? "It is quiet here. Say hello to somebody:" : "It is quiet here. Start a conversation with the plus above."),
      ...others.map((name) =>
        el("button", { class: "greet", onclick: () => this.greet(name) }, avatar(name), el("span", {}, `Chat with ${name}`))),
    );
  }
}
