// What was written and is not answered yet. A message is pushed until the server has said what became of it, each time
// under the same `client_random`: the server stores it once, however often it comes.

import { Refused, answer } from "./push.js";
import { uuid } from "./ids.js";

/** Refusals that pass. */
const PASSING = ["unavailable", "rate_limit_exceeded"];

export class Outbox {
  /** `{client_random, content, metadata, reply_to, state: "sending" or "failed", why}`, oldest first. */
  entries = [];
  #attempt = 0;
  #pause;

  /**
   * `user` is oneself; `channel()` the joined channel, or nothing; `stored(reply)` and `refused(error)` hear what became of
   * each message.
   */
  constructor({ user, channel, stored, refused, changed }) {
    Object.assign(this, { user, channel, stored, refused, changed });
  }

  /**
   * `reply_to` is the message that it answers, as messages quote it. `copies: 2` pushes it twice at once, to show that it is
   * one message all the same.
   */
  add(content, { metadata = {}, reply_to, copies = 1 } = {}) {
    const entry = {
      sender_id: this.user, client_random: uuid(), content, metadata, reply_to, copies, state: "sending",
      written_at: new Date().toISOString(),
    };
    this.entries.push(entry);
    this.changed();
    // The one before goes first.
    if (this.#next() === entry) this.flush();
    return entry;
  }

  /** To be called on every join: what was under way when the connection was lost was perhaps never heard. */
  flush() {
    clearTimeout(this.#pause);
    const entry = this.#next();
    const channel = this.channel();
    if (!entry || !channel) return;
    const attempt = (this.#attempt += 1);
    const { content, metadata, client_random, reply_to } = entry;
    const payload = { message_type: "text", content, metadata, client_random, reply_to_id: reply_to?.id };
    for (let copy = 0; copy < entry.copies; copy += 1) {
      answer(channel.push("send_message", payload)).then(
        (reply) => this.#answered(entry, reply),
        // A newer attempt is under way; this one's fate says nothing any more.
        (error) => attempt === this.#attempt && this.#unanswered(entry, error),
      );
    }
  }

  retry(entry) {
    entry.state = "sending";
    this.changed();
    this.flush();
  }

  discard(entry) {
    this.entries = this.entries.filter((one) => one !== entry);
    this.changed();
  }

  /** One at a time, so that messages are stored in the order in which they were written. */
  #next() {
    return this.entries.find(({ state }) => state === "sending");
  }

  #answered(entry, reply) {
    const first = this.entries.includes(entry);
    this.entries = this.entries.filter((one) => one !== entry);
    this.stored(reply);
    this.changed();
    if (first) this.flush();
  }

  #unanswered(entry, error) {
    if (!this.entries.includes(entry)) return;
    if (!(error instanceof Refused)) {
      this.flush();
    } else if (PASSING.includes(error.reason)) {
      this.#pause = setTimeout(() => this.flush(), (error.response.retry_after ?? 1) * 1000);
    } else {
      entry.state = "failed";
      entry.why = error.message;
      this.refused(error);
      this.changed();
      this.flush();
    }
  }
}
