// One conversation: what the list shows of it, and, once it is open, its messages as they come, resume and are read.

import { Presence } from "../../vendor/phoenix.mjs";

import { Outbox } from "./outbox.js";
import { answer } from "./push.js";
import { Timeline } from "./timeline.js";
import { Typist, Typists } from "./typing.js";

const PAGE = 50;
const CATCH_UP_PAGE = 200;

/** Fires `change`; `ended` when one is no member any more; `duplicate` with the reply that says so. */
export class Conversation extends EventTarget {
  last_seq = 0;
  last_read_seq = 0;
  /** Up to where each of the others has read, as far as this client has heard. */
  read = new Map();
  loading = false;
  #channel;
  #presence;
  #marking = 0;

  /** `client` holds the user, the socket and the HTTP calls; `info` is a conversation as HTTP tells it. */
  constructor(client, info) {
    super();
    this.client = client;
    this.timeline = new Timeline(client.user);
    this.typists = new Typists(() => this.#changed());
    this.typist = new Typist((event) => this.joined && this.#channel.push(event, {}));
    this.outbox = new Outbox({
      user: client.user,
      channel: () => (this.joined ? this.#channel : undefined),
      stored: (reply) => this.#stored(reply),
      changed: () => this.#changed(),
    });
    this.learn(info);
  }

  /** Takes what HTTP says. Positions only move forward: an answer may be older than what has been heard meanwhile. */
  learn({ id, type, metadata, member_ids, created_at, last_message, last_seq = 0, last_read_seq = 0 }) {
    Object.assign(this, { id, type, metadata, created_at, members: member_ids });
    this.last_seq = Math.max(this.last_seq, last_seq);
    this.last_read_seq = Math.max(this.last_read_seq, last_read_seq);
    if (last_message) this.#latest(last_message);
    this.#changed();
  }

  get others() {
    return this.members.filter((user) => user !== this.client.user);
  }

  get title() {
    return this.metadata?.title || this.others.join(", ") || "Just you";
  }

  get unread() {
    return Math.max(0, this.last_seq - this.last_read_seq);
  }

  get activity() {
    return this.last_message?.sent_at ?? this.created_at;
  }

  get opened() {
    return Boolean(this.#channel);
  }

  get joined() {
    return this.#channel?.state === "joined" && this.client.connected;
  }

  /** Members who have it open now. */
  get here() {
    return Object.keys(this.#presence?.state ?? {});
  }

  /** Joins. From then on phoenix.js joins again after every lost connection, and each time says where it stands. */
  open() {
    if (this.#channel) return;
    const channel = this.client.channel(`conversation:${this.id}`, () => ({
      last_seq: this.timeline.last,
      since: this.since,
    }));
    this.#channel = channel;
    channel.on("new_message", (message) => this.receive(message));
    channel.on("typing_indicator", ({ user_id, action }) =>
      action === "start" ? this.typists.started(user_id) : this.typists.stopped(user_id));
    channel.on("read_receipt", (receipt) => this.receipt(receipt));
    channel.on("reaction_added", (event) => this.#reacted(event, true));
    channel.on("reaction_removed", (event) => this.#reacted(event, false));
    channel.on("user_left", ({ user_id }) => this.typists.stopped(user_id));
    this.#presence = new Presence(channel);
    this.#presence.onSync(() => this.#changed());
    channel.onError(() => {
      this.typists.lost();
      this.#changed();
    });
    channel.onClose(() => {
      // Not by `close` below: the server did it, because one is no member any more.
      if (this.#channel === channel) this.dispatchEvent(new Event("ended"));
    });
    channel
      .join()
      .receive("ok", (reply) => this.#welcomed(reply))
      .receive("error", ({ reason }) => reason === "not_a_member" && this.dispatchEvent(new Event("ended")));
  }

  /** Leaves the channel and keeps the messages: opened again, it resumes. */
  close() {
    const channel = this.#channel;
    this.#channel = undefined;
    this.#presence = undefined;
    channel?.leave();
  }

  /** The reply to a join, the first one or a later one. */
  #welcomed(reply) {
    const first = this.timeline.last === undefined;
    this.timeline.begin(reply.last_seq);
    for (const message of reply.messages) this.#take(message);
    for (const message of reply.changes) this.timeline.change(message);
    this.since = reply.change_cursor;
    this.learn({ ...reply.conversation, last_seq: reply.last_seq, last_read_seq: reply.last_read_seq });
    if (first) this.loadOlder();
    if (reply.truncated) this.#catchUp(reply.last_seq);
    this.outbox.flush();
  }

  /** What did not fit into the join's reply. Should the connection go meanwhile, the next join goes on from there. */
  async #catchUp(tail) {
    try {
      while (this.timeline.last < tail) {
        const page = await this.client.api.messages(this.id, { after_seq: this.timeline.last, limit: CATCH_UP_PAGE });
        if (page.messages.length === 0) return;
        for (const message of page.messages) this.#take(message);
        this.#changed();
      }
    } catch (error) {
      this.client.report(error, "Messages could not be fetched");
    }
  }

  get hasOlder() {
    return this.timeline.first > 1;
  }

  /** One page of history. */
  async loadOlder() {
    if (this.loading || !this.hasOlder) return;
    this.loading = true;
    this.#changed();
    // Reactions that come while the page is under way may be newer than the page.
    this.meanwhile = [];
    try {
      const page = await this.client.api.messages(this.id, { before_seq: this.timeline.first, limit: PAGE });
      for (const message of page.messages.toReversed()) this.timeline.put(message);
      for (const [event, present] of this.meanwhile) this.timeline.react(event, present);
    } catch (error) {
      this.client.report(error, "Older messages could not be fetched");
    }
    this.meanwhile = undefined;
    this.loading = false;
    this.#changed();
  }

  /** A message by broadcast, on this topic or on the user's own. */
  receive(message) {
    // Before the first join there is no position that it could continue.
    if (this.timeline.last !== undefined) this.#take(message);
    this.#latest(message);
    this.typists.stopped(message.sender_id);
    this.#changed();
  }

  #take(message) {
    this.timeline.put(message);
    this.#latest(message);
  }

  /** What the list shows, and what a message says of who has read what: who writes has read what is above. */
  #latest(message) {
    this.last_seq = Math.max(this.last_seq, message.seq);
    if (message.seq >= (this.last_message?.seq ?? 0)) this.last_message = message;
    this.#readUpTo(message.sender_id, message.seq);
  }

  #readUpTo(user, seq) {
    if (user === this.client.user) this.last_read_seq = Math.max(this.last_read_seq, seq);
    else this.read.set(user, Math.max(this.read.get(user) ?? 0, seq));
  }

  /** A read receipt, on this topic or on the user's own. */
  receipt({ user_id, seq }) {
    this.#readUpTo(user_id, seq);
    this.#changed();
  }

  /** What `sync_complete` says of it. */
  synced({ last_seq, unread_count }) {
    this.last_seq = Math.max(this.last_seq, last_seq);
    this.last_read_seq = Math.max(this.last_read_seq, last_seq - unread_count);
    this.#changed();
  }

  /** Who of the others has read this message. */
  readers(message) {
    return this.others.filter((user) => (this.read.get(user) ?? 0) >= message.seq);
  }

  send(content, options) {
    this.typist.stopped();
    return this.outbox.add(content, options);
  }

  #stored(reply) {
    this.receive(reply.message);
    if (reply.duplicate) this.dispatchEvent(new CustomEvent("duplicate", { detail: reply }));
  }

  /** Messages in order, then what is on its way and not among them yet. */
  get items() {
    if (this.timeline.last === undefined) return [];
    const waiting = this.outbox.entries.filter((entry) => !this.timeline.stored(entry.client_random));
    return [...this.timeline.shown(), ...waiting];
  }

  /** To be called while the newest message is on the screen. */
  async markRead() {
    const seq = this.timeline.last;
    const newest = this.timeline.shown().at(-1);
    if (!this.joined || !newest || seq <= Math.max(this.last_read_seq, this.#marking)) return;
    this.#marking = seq;
    try {
      const { last_read_seq } = await answer(this.#channel.push("mark_as_read", { message_id: newest.id }));
      this.#readUpTo(this.client.user, last_read_seq);
      this.#changed();
    } catch {
      // The next look at it says so again.
    }
    this.#marking = 0;
  }

  /** Adds the reaction, or takes one's own away. */
  async react(message, reaction) {
    if (!this.joined) throw new Error("Reactions need a connection.");
    const mine = message.reactions[reaction]?.includes(this.client.user);
    await answer(this.#channel.push(mine ? "remove_reaction" : "add_reaction", { message_id: message.id, reaction }));
    this.#reacted({ message_id: message.id, user_id: this.client.user, reaction }, !mine);
  }

  #reacted(event, present) {
    this.timeline.react(event, present);
    this.meanwhile?.push([event, present]);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
