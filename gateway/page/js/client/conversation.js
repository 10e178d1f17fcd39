// One conversation: what the list shows of it, and, once it is open, its messages as they come, resume and are read.

import { Presence } from "../../vendor/phoenix.mjs";

import { History } from "./history.js";
import { mentionsOf, withMentions } from "./mentions.js";
import { Mute } from "./mute.js";
import { Outbox } from "./outbox.js";
import { answer } from "./push.js";
import { Receipts } from "./receipts.js";
import { Timeline, isGone } from "./timeline.js";
import { Typist, Typists } from "./typing.js";

/** What arrives is said to have arrived so much later, and not at all where it has been read by then. */
const ARRIVED_MS = 300;

/** Fires `change`; `ended` when one is no member any more; `duplicate` with the reply that says so. */
export class Conversation extends EventTarget {
  last_seq = 0;
  last_read_seq = 0;
  /** Up to where the others have received and read. */
  receipts = new Receipts();
  #channel;
  #presence;
  #marking = 0;
  #arrived = 0;
  /** Where one was named last. */
  #mentioned = 0;
  #telling;
  /** How many of the unread places hold what never comes to this user: one blocked who wrote it. */
  #passed = 0;

  /** `client` holds the user, the socket and the HTTP calls; `info` is a conversation as HTTP tells it. */
  constructor(client, info) {
    super();
    this.client = client;
    this.timeline = new Timeline(client.user);
    this.history = new History(this.timeline, {
      ask: (query) => client.api.messages(this.id, query),
      take: (message) => this.#take(message),
      changed: () => this.#renewed(),
      report: (error, what) => client.report(error, what),
    });
    this.mute = new Mute(() => this.#changed());
    this.typists = new Typists(() => this.#changed());
    this.typist = new Typist((event) => this.joined && this.#channel.push(event, {}));
    this.outbox = new Outbox({
      user: client.user,
      channel: () => (this.joined ? this.#channel : undefined),
      stored: (reply) => this.#stored(reply),
      // The notice of it was missed.
      refused: ({ reason }) => reason === "blocked" && client.blocks.set(this.others[0], true),
      changed: () => this.#changed(),
    });
    this.learn(info);
  }

  /** Takes what HTTP says. Positions only move forward: an answer may be older than what has been heard meanwhile. */
  learn({ id, type, metadata, member_ids, created_at, last_message, last_seq = 0, last_read_seq = 0, unread_count }) {
    Object.assign(this, { id, type, metadata, created_at, members: member_ids });
    this.last_seq = Math.max(this.last_seq, last_seq);
    this.#haveRead(last_read_seq);
    if (last_message) this.#latest(last_message);
    const current = last_seq === this.last_seq && last_read_seq === this.last_read_seq;
    if (current && unread_count !== undefined) this.#passed = last_seq - last_read_seq - unread_count;
    this.#changed();
  }

  get others() {
    return this.members.filter((user) => user !== this.client.user);
  }

  get title() {
    return this.metadata?.title || this.others.join(", ") || "Just you";
  }

  /** Whether one blocks the other one of a direct conversation: then one says nothing to them either. */
  get blocked() {
    return this.type === "direct" && this.client.blocks.has(this.others[0]);
  }

  /** Whether one is named in what is unread, as far as this client has heard. */
  get mentioned() {
    return this.#mentioned > this.last_read_seq;
  }

  get unread() {
    return Math.max(0, this.last_seq - this.last_read_seq - this.#passed);
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
      since: this.history.since,
    }));
    this.#channel = channel;
    channel.on("new_message", (message) => this.#heard(message));
    channel.on("typing_indicator", ({ user_id, action }) =>
      action === "start" ? this.typists.started(user_id) : this.typists.stopped(user_id));
    channel.on("read_receipt", (receipt) => this.receipt(receipt));
    channel.on("message_edited", ({ message }) => this.#apply((timeline) => timeline.change(message)));
    channel.on("message_deleted", (event) => this.#apply((timeline) => timeline.delete(event)));
    channel.on("message_hidden", (event) => this.#apply((timeline) => timeline.hide(event)));
    channel.on("reaction_added", (event) => this.#apply((timeline) => timeline.react(event, true)));
    channel.on("reaction_removed", (event) => this.#apply((timeline) => timeline.react(event, false)));
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
    clearTimeout(this.#telling);
    this.#telling = undefined;
    channel?.leave();
  }

  /** The reply to a join, the first one or a later one. */
  #welcomed(reply) {
    const first = this.timeline.last === undefined;
    this.timeline.begin(reply.last_seq);
    for (const message of reply.messages) this.#take(message);
    for (const message of reply.changes) this.timeline.change(message);
    this.#renewed();
    this.history.since = reply.change_cursor;
    this.learn({ ...reply.conversation, last_seq: reply.last_seq, last_read_seq: reply.last_read_seq });
    this.#refresh(first, reply);
    this.outbox.flush();
  }

  /** What a join's reply does not tell. Should the connection go meanwhile, the next join goes on from there. */
  async #refresh(first, { truncated, changes_truncated }) {
    // Also where it failed before: there is a connection now.
    if (first || this.history.failed) await this.history.loadOlder();
    if (truncated || changes_truncated) await this.history.catchUp();
    this.#tellArrived();
    const mine = this.timeline.shown().filter(({ sender_id }) => sender_id === this.client.user);
    // Ticks are no more than nice to have.
    await this.receipts.catchUp(mine, (message) => this.client.api.receipts(message)).catch(() => {});
    this.#changed();
  }

  /** Takes a change of a message, `change(timeline)`, that was heard. */
  #apply(change) {
    this.history.apply(change);
    this.#renewed();
  }

  /** What the list shows of it may have changed, too. */
  #renewed() {
    this.last_message = this.timeline.get(this.last_message?.id) ?? this.last_message;
    this.#changed();
  }

  /** A message on this topic, which passes over what never comes to this user: history holds its place. */
  #heard(message) {
    this.receive(message);
    if (this.timeline.last < message.seq) this.history.catchUp();
  }

  /** A message by broadcast, on this topic or on the user's own. */
  receive(message) {
    // A notice was lost, or a place was passed over: the list counts.
    if (message.seq > this.last_seq + 1) this.client.lookSoon();
    // Before the first join there is no position that it could continue.
    if (this.timeline.last !== undefined) this.timeline.add(message);
    this.#latest(message);
    this.typists.stopped(message.sender_id);
    this.#tellArrived();
    this.#changed();
  }

  #take(message) {
    this.timeline.put(message);
    this.#latest(message);
  }

  /** What the list shows, and what a message says of who has read what: who writes has read what is above. */
  #latest(message) {
    this.last_seq = Math.max(this.last_seq, message.seq);
    if (mentionsOf(message).includes(this.client.user)) this.#mentioned = Math.max(this.#mentioned, message.seq);
    // What is heard of the channel is newer than what is said elsewhere.
    const held = this.joined ? this.timeline.get(message.id) : undefined;
    if (message.seq >= (this.last_message?.seq ?? 0)) this.last_message = held ?? message;
    this.#readUpTo(message.sender_id, message.seq);
  }

  #readUpTo(user, seq) {
    if (user === this.client.user) this.#haveRead(seq);
    else this.receipts.read(user, seq);
  }

  #haveRead(seq) {
    if (seq <= this.last_read_seq) return;
    this.last_read_seq = seq;
    this.#passed = 0;
  }

  /** A read receipt, on this topic or on the user's own. */
  receipt({ user_id, seq }) {
    this.#readUpTo(user_id, seq);
    this.#changed();
  }

  /** A delivery receipt, on the user's own topic. */
  delivered({ user_id, seq }) {
    this.receipts.delivered(user_id, seq);
    this.#changed();
  }

  /** What `sync_complete` says of it. */
  synced({ last_seq, unread_count }) {
    this.last_seq = Math.max(this.last_seq, last_seq);
    this.#haveRead(last_seq - unread_count);
    this.#changed();
  }

  send(content, options) {
    this.typist.stopped();
    return this.outbox.add(content, { ...options, metadata: withMentions(content, this.others) });
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

  /** Tells the senders that their messages have arrived here. */
  #tellArrived() {
    this.#telling ??= setTimeout(async () => {
      this.#telling = undefined;
      const newest = this.timeline.shown().findLast(({ sender_id }) => sender_id !== this.client.user);
      if (!this.joined || !newest || newest.seq <= Math.max(this.#arrived, this.last_read_seq)) return;
      try {
        const reply = await answer(this.#channel.push("mark_as_delivered", { message_id: newest.id }));
        this.#arrived = Math.max(this.#arrived, reply.last_delivered_seq);
      } catch {
        // The next message, or the next join, says it again.
      }
    }, ARRIVED_MS);
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
    const { user } = this.client;
    const mine = message.reactions[reaction]?.includes(user);
    await this.#tell(mine ? "remove_reaction" : "add_reaction", message, { reaction });
    this.#apply((timeline) => timeline.react({ message_id: message.id, user_id: user, reaction }, !mine));
  }

  /** Whether one may still edit it, as far as is known. */
  editable(message) {
    const mine = message.sender_id === this.client.user && message.message_type === "text";
    return mine && !this.blocked && !isGone(message) && Date.now() - Date.parse(message.sent_at) < this.client.editWindow * 1000;
  }

  async edit(message, content) {
    const metadata = withMentions(content, this.others, message.metadata);
    try {
      await this.#tell("edit_message", message, { content, metadata });
    } catch (error) {
      this.client.editWindow = error.response?.edit_window ?? this.client.editWindow;
      throw error;
    }
  }

  /** Deletes it for everyone, which its author may, or for oneself alone. */
  remove(message, { everyone }) {
    return this.#tell("delete_message", message, { for_everyone: everyone });
  }

  /** What becomes of the message is told by broadcast, to oneself as to the others. */
  async #tell(event, { id }, more) {
    if (!this.joined) throw new Error("This needs a connection.");
    return answer(this.#channel.push(event, { message_id: id, ...more }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
