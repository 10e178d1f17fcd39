// An open conversation: its head, its messages, and the field to write in.

import { avatar, avatars } from "./avatar.js";
import { Blocking } from "./block.js";
import { Compose } from "./compose.js";
import { arrows, el, place } from "./dom.js";
import { icon } from "./icons.js";
import { Line, keyOf } from "./message.js";
import { muted } from "./mute.js";
import { presence } from "./people.js";
import { day, seen } from "./time.js";

/** Messages of one person within this time are one run. */
const RUN_MS = 5 * 60 * 1000;
/** How near to an end counts as at it, in pixels. */
const NEAR_TOP = 400;
const NEAR_BOTTOM = 80;

export class Thread {
  #lines = new Map();
  #days = new Map();
  #atBottom = true;
  /** Where the scroller was last seen or put. */
  #top = 0;
  #firstKey;

  /**
   * `back()` on a phone; `mute()` and `people()` open their dialogs, `wire()` the frames; `remove(message)` and
   * `receipts(message)` ask about a message; `block(user, present)` blocks the other one; `inviting` on a local stack.
   */
  constructor(client, conversation, { back, mute, block, people, wire, remove, receipts, inviting }) {
    Object.assign(this, { client, conversation, inviting });
    // Where the unread ones began when it was opened.
    this.newFrom = conversation.unread > 0 ? conversation.last_read_seq + 1 : Infinity;
    this.face = el("span", {});
    this.heading = el("h2", { class: "thread-title" });
    this.under = el("p", { class: "thread-under" });
    this.bell = el("button", { class: "round", onclick: mute });
    this.blocking = new Blocking(conversation, block);
    this.head = el(
      "header",
      { class: "thread-head" },
      el("button", { class: "round back", "aria-label": "Back to the conversations", onclick: back }, icon("back")),
      this.face,
      el("div", { class: "thread-names" }, this.heading, this.under),
      this.bell,
      this.blocking.button,
      el("button", { class: "round", "aria-label": "People", title: "People", onclick: people }, icon("people")),
      el("button", { class: "round", "aria-label": "Frames", title: "Frames on the wire", onclick: wire }, icon("wave")),
    );
    this.banner = el("p", { class: "banner", role: "status" });
    this.lines = el("ol", { class: "lines" });
    this.older = el("li", { class: "older" }, "Loading…");
    this.retry = el("li", { class: "older" }, "Older messages could not be fetched.", el("button", { class: "link", onclick: () => conversation.history.loadOlder() }, "Try again"));
    this.nothing = el("li", { class: "nothing" });
    this.fresh = el("li", { class: "divider fresh" }, el("span", {}, "New"));
    this.scroller = el("div", { class: "scroller", role: "log", "aria-label": "Messages", onscroll: () => this.#scrolled() }, this.lines);
    this.typing = el("p", { class: "typing", "aria-live": "polite" });
    this.jump = el("button", { class: "jump", "aria-label": "To the newest message", onclick: () => this.#toBottom() }, icon("down"));
    this.compose = new Compose(conversation, {
      send: (text, reply_to) => this.send(text, { reply_to }),
      save: (message, text) => conversation.edit(message, text),
      up: () => this.#lastLine()?.focus(),
    });
    this.actions = {
      reply: (message) => this.compose.begin("reply", message),
      edit: (message) => this.compose.begin("edit", message),
      remove, receipts,
      jump: (seq) => this.#jump(seq),
    };
    this.node = el(
      "section",
      { class: "thread", "aria-label": "Conversation" },
      this.head,
      this.banner,
      el("div", { class: "scroll-frame" }, this.scroller, this.jump),
      this.typing,
      this.compose.node,
      this.blocking.bar,
    );
    arrows(this.lines, () => [...this.lines.querySelectorAll(".line")]);
    this.lines.addEventListener("keydown", (event) => event.key === "Escape" && this.compose.input.focus());
    // A field that grows, a keyboard that opens: the newest stays in sight.
    this.resized = new ResizeObserver(() => this.#staysAtBottom() && this.#toBottom());
    this.resized.observe(this.scroller);
  }

  close() {
    this.resized.disconnect();
    this.conversation.typist.stopped();
  }

  /** `reply_to` is the message that it answers. */
  send(text, { reply_to, ...options } = {}) {
    this.newFrom = Infinity;
    this.#atBottom = true;
    this.#top = this.scroller.scrollTop;
    const { id, seq, sender_id, message_type, content: preview } = reply_to ?? {};
    this.conversation.send(text, { ...options, reply_to: reply_to && { id, seq, sender_id, message_type, preview } });
  }

  /** Goes to a message, which may be far up in the history. */
  async #jump(seq) {
    if (!(await this.conversation.history.reach(seq))) return;
    this.#atBottom = false;
    this.#updateLines();
    const line = this.lines.querySelector(`.line[data-seq="${seq}"]`);
    line.scrollIntoView({ block: "center" });
    line.focus({ preventScroll: true });
    // Begun anew where it is the same one again.
    line.classList.remove("found");
    requestAnimationFrame(() => line.classList.add("found"));
  }

  update() {
    this.#updateHead();
    this.#updateLines();
    this.compose.update();
    this.blocking.update(this.compose);
    this.seen();
  }

  /** Marks as read what is in sight. */
  seen() {
    const looked = document.visibilityState === "visible" && document.hasFocus() && this.#atBottom;
    if (looked && this.scroller.clientHeight > 0) this.conversation.markRead();
  }

  #updateHead() {
    const { client, conversation } = this;
    const { others, type, title } = conversation;
    const direct = type === "direct";
    const status = direct ? presence(client, conversation, others[0]) : undefined;
    const shown = JSON.stringify([title, status, others]);
    if (shown !== this.shownHead) {
      this.shownHead = shown;
      this.heading.textContent = title;
      this.face.replaceChildren(others.length > 1 ? avatars(others) : avatar(others[0] ?? client.user, { status }));
    }
    this.#updateBell();
    const here = conversation.here.length;
    const about = !direct
      ? `${conversation.members.length} people${here > 0 && client.connected ? `, ${here} here now` : ""}`
      : conversation.blocked ? "blocked"
      : status === "offline" ? seen(client.people.lastSeen(others[0])) : status;
    const lost = ["reconnecting", "offline", "revoked"].includes(client.state);
    const under = lost ? "not connected" : about;
    if (this.under.textContent !== under) this.under.textContent = under;
    const waiting = conversation.outbox.entries.length > 0;
    const words = !lost ? ""
      : client.state === "revoked" ? "You are signed out."
      : `${client.state === "offline" ? "You are offline." : "Reconnecting…"} ${waiting ? "What you wrote is sent as soon as you are back." : "What you write now is sent when you are back."}`;
    if (this.banner.textContent !== words) this.banner.textContent = words;
    const typists = conversation.typists.users;
    const typing = typists.length === 0 ? "" : typists.length === 1 ? `${typists[0]} is typing` : `${typists.slice(0, 3).join(", ")} are typing`;
    if (this.typing.textContent !== typing) this.typing.textContent = typing;
  }

  #updateBell() {
    const { until } = this.conversation.mute;
    const words = muted(until);
    if (this.bell.title === words) return;
    this.bell.title = words;
    this.bell.setAttribute("aria-label", words);
    this.bell.replaceChildren(icon(until ? "muted" : "bell"));
  }

  #updateLines() {
    const { scroller } = this;
    const items = this.conversation.items;
    const stays = this.#staysAtBottom();
    const fromBottom = scroller.scrollHeight - scroller.scrollTop;
    place(this.lines, this.#nodes(items));
    const firstKey = items[0] && keyOf(items[0], this.client.user);
    if (stays) this.#toBottom();
    // Older ones came in above: what was in sight stays where it was.
    else if (firstKey !== this.#firstKey) scroller.scrollTop = scroller.scrollHeight - fromBottom;
    this.#firstKey = firstKey;
    this.#wantOlder();
  }

  #nodes(items) {
    const { conversation, client } = this;
    const nodes = [];
    if (conversation.timeline.last === undefined || conversation.history.loading) {
      nodes.push(this.older);
    } else if (conversation.history.failed) {
      nodes.push(this.retry);
    } else if (!conversation.history.hasOlder) {
      this.#updateNothing(items.length === 0);
      nodes.push(this.nothing);
    }
    const kept = new Map();
    let before;
    let fresh = false;
    items.forEach((item, n) => {
      if (!before || when(before).midnight !== when(item).midnight) nodes.push(this.#day(day(when(item).time)));
      if (!fresh && item.seq >= this.newFrom && item.sender_id !== client.user) {
        fresh = true;
        nodes.push(this.fresh);
      }
      const key = keyOf(item, client.user);
      const line = this.#lines.get(key) ?? new Line(conversation, this.actions);
      kept.set(key, line);
      line.update(item, { head: !runs(before, item), foot: !runs(item, items[n + 1]) });
      nodes.push(line.node);
      before = item;
    });
    this.#lines = kept;
    // One stop for Tab among the lines; the arrows go on from there.
    if (!this.lines.contains(document.activeElement)) {
      for (const { node } of kept.values()) node.tabIndex = -1;
      const last = [...kept.values()].at(-1);
      if (last) last.node.tabIndex = 0;
    }
    return nodes;
  }

  #updateNothing(empty) {
    const [other] = this.conversation.others;
    const absent = other && presence(this.client, this.conversation, other) === "offline";
    const shown = empty ? `empty${absent}` : "began";
    if (this.nothing.dataset.shown === shown) return;
    this.nothing.dataset.shown = shown;
    this.nothing.replaceChildren(empty ? "Nothing has been said yet. " : "This is where it began.");
    if (empty && absent && this.inviting) {
      const there = { href: `/#${encodeURIComponent(other)}`, target: "_blank", rel: "noopener" };
      this.nothing.append(el("a", there, `Be ${other} in another window`));
    }
  }

  #day(name) {
    if (!this.#days.has(name)) this.#days.set(name, el("li", { class: "divider" }, el("span", {}, name)));
    return this.#days.get(name);
  }

  #lastLine() {
    return [...this.lines.querySelectorAll(".line")].at(-1);
  }

  #toBottom() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#top = this.scroller.scrollTop;
  }

  /** Whether the newest stays in sight. Who has scrolled up may have done so just now: the event comes a frame later. */
  #staysAtBottom() {
    const { clientHeight, scrollTop } = this.scroller;
    // Out of sight, on a phone, it stands at 0, and no one put it there.
    if (clientHeight === 0) this.#top = 0;
    else if (this.#atBottom && scrollTop < this.#top) this.#look();
    return this.#atBottom;
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.#top = scrollTop;
    this.#atBottom = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM;
    this.jump.classList.toggle("shown", !this.#atBottom);
  }

  #scrolled() {
    this.#look();
    this.#wantOlder();
    this.seen();
  }

  #wantOlder() {
    const { history } = this.conversation;
    if (history.failed) return;
    if (this.scroller.clientHeight > 0 && this.scroller.scrollTop < NEAR_TOP) history.loadOlder();
  }
}

/** Whether the second goes on where the first stopped. */
function runs(one, next) {
  if (!one || !next) return false;
  const [a, b] = [when(one), when(next)];
  return one.sender_id === next.sender_id && b.time - a.time < RUN_MS && a.midnight === b.midnight;
}

const times = new WeakMap();

/** When a message was sent or written, and the day's beginning, in ms. Worked out once: there may be many of them. */
function when(item) {
  let known = times.get(item);
  if (!known) {
    const time = Date.parse(item.sent_at ?? item.written_at);
    known = { time, midnight: new Date(time).setHours(0, 0, 0, 0) };
    times.set(item, known);
  }
  return known;
}
