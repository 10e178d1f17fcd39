// What one client shows of one conversation, and everything about it that guarantees 3 and 4 forbid.

import { Presence } from "../phoenix.mjs";

import { http } from "../support.mjs";

/** A message's reactions in one form, `{reaction: [user]}` with users in order and nothing empty. */
export function settledReactions(reactions = {}) {
  const entries = Object.entries(reactions).map(([reaction, users]) => [reaction, [...users].sort()]);
  return Object.fromEntries(entries.filter(([, users]) => users.length > 0).sort(([x], [y]) => (x < y ? -1 : 1)));
}

export class Screen {
  /** `{seq, id, sender_id, content}` in the order in which they appeared. */
  shown = [];
  /** Reactions by message id: `{reaction: Set of users}`. */
  reactions = new Map();
  /** What should not have happened, a line each. */
  wrongs = [];
  /** How often the channel was joined. */
  joins = 0;
  #asked = 0;
  #known = new Set();
  #cursor;
  #catchingUp = Promise.resolve();
  /** What came while a join's reply was too short, to be handled after what it left out. */
  #waiting;

  /** `call(path)` is an HTTP GET as this user. */
  constructor(client, id, call) {
    Object.assign(this, { client, id, call });
    this.channel = client.socket.channel(`conversation:${id}`, () => this.#params());
    this.presence = new Presence(this.channel);
    this.channel.on("new_message", (message) => this.#broadcast(message));
    this.channel.on("reaction_added", (change) => this.#reacted(change, true));
    this.channel.on("reaction_removed", (change) => this.#reacted(change, false));
    this.channel.onError(() => (this.lostAt = performance.now()));
  }

  /** Begins to join, and joins again whenever the connection was lost. */
  join() {
    this.channel.join().receive("ok", (reply) => this.#joined(reply));
    return this;
  }

  /** The last `seq` shown. */
  get last() {
    return this.shown.at(-1)?.seq ?? 0;
  }

  /** Presence as `{user: number of metas}`. */
  get present() {
    return Object.fromEntries(this.presence.list((user, { metas }) => [user, metas.length]));
  }

  /** Resolves when nothing is fetched any more. */
  async settled() {
    await this.#catchingUp;
  }

  #params() {
    this.#asked = this.last;
    return { last_seq: this.last, since: this.#cursor };
  }

  #wrong(text) {
    this.wrongs.push(`${this.client.user} in ${this.id}: ${text}`);
  }

  #show(message) {
    const { id, seq, sender_id, content, reactions } = message;
    this.shown.push({ seq, id, sender_id, content, at: performance.now() });
    this.#known.add(id);
    this.#form(id, reactions);
  }

  #form(id, reactions = {}) {
    const sets = Object.entries(reactions).map(([reaction, users]) => [reaction, new Set(users)]);
    this.reactions.set(id, Object.fromEntries(sets));
  }

  #joined(reply) {
    this.joins += 1;
    // What the channel before this one left to be caught up with, this one's reply counts from.
    this.#waiting = undefined;
    if (reply.last_seq < this.#asked) this.#wrong(`the tail went back from ${this.#asked} to ${reply.last_seq}`);
    let expected = this.#asked;
    for (const message of reply.messages) {
      expected += 1;
      if (message.seq !== expected) this.#wrong(`a join after ${this.#asked} gave ${message.seq} where ${expected} was due`);
      // What the channel before this one still brought while this one was joined.
      if (message.seq > this.last) this.#show(message);
    }
    if (!reply.truncated && expected !== reply.last_seq) {
      this.#wrong(`a join after ${this.#asked} gave up to ${expected} of ${reply.last_seq}`);
    }
    for (const message of reply.changes) this.#form(message.id, message.reactions);
    this.#cursor = reply.change_cursor;
    if (reply.truncated || reply.changes_truncated) {
      this.#catchingUp = this.#catchUp(reply).catch((error) => this.#wrong(`catching up: ${error.message}`));
    }
  }

  /** Reads on where a join's reply had no room for all of it; broadcasts wait meanwhile. */
  async #catchUp(reply) {
    const round = this.joins;
    this.#waiting = [];
    for (let more = true; more; ) {
      const query = new URLSearchParams({ after_seq: this.last, limit: 200, since: this.#cursor });
      const page = await this.call(`/api/v1/conversations/${this.id}/messages?${query}`);
      if (round !== this.joins) return;
      if (page.status !== 200) continue;
      for (const message of page.body.messages) {
        if (message.seq === this.last + 1 && message.seq <= reply.last_seq) this.#show(message);
      }
      for (const message of page.body.changes) this.#form(message.id, message.reactions);
      this.#cursor = page.body.change_cursor;
      more = this.last < reply.last_seq || page.body.changes_truncated;
    }
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting.forEach((handle) => handle());
  }

  #broadcast(message) {
    if (this.#waiting) return this.#waiting.push(() => this.#broadcast(message));
    if (message.seq === this.last + 1) return this.#show(message);
    // While it joins again, the channel before may still speak; the reply says what counts.
    if (!this.channel.isJoined()) return;
    this.#wrong(`broadcast ${message.seq} after ${this.last}`);
    if (message.seq > this.last) this.#show(message);
  }

  #reacted({ message_id, user_id, reaction }, added) {
    if (this.#waiting) return this.#waiting.push(() => this.#reacted({ message_id, user_id, reaction }, added));
    if (!this.#known.has(message_id)) {
      // While it joins again, the channel before may still speak; the reply says what counts.
      if (this.channel.isJoined()) this.#wrong(`a reaction to ${message_id} came before the message`);
      return;
    }
    const reactions = this.reactions.get(message_id) ?? {};
    this.reactions.set(message_id, reactions);
    const users = (reactions[reaction] ??= new Set());
    if (added) users.add(user_id);
    else users.delete(user_id);
  }
}

/** Calls over HTTP through any gateway that answers, as `token`'s user. */
export function caller(pick, token) {
  return async (path) => {
    try {
      return await http(pick().url, "GET", path, { token: token() });
    } catch (error) {
      return { status: 0, body: error };
    }
  };
}
