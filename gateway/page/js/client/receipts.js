// Up to where each of the others has received and read, as far as this client has heard. Positions only move forward, and
// who has read has received.

/** `{read, delivered}` of a message is asked of so many of one's own messages after a join. */
const LOOKS_BACK = 5;

export class Receipts {
  #read = new Map();
  #delivered = new Map();

  read(user, seq) {
    this.#read.set(user, Math.max(this.#read.get(user) ?? 0, seq));
    this.delivered(user, seq);
  }

  delivered(user, seq) {
    this.#delivered.set(user, Math.max(this.#delivered.get(user) ?? 0, seq));
  }

  /** Who of these users has read the message at `seq`. */
  readers(users, seq) {
    return users.filter((user) => (this.#read.get(user) ?? 0) >= seq);
  }

  /** `sent`, `delivered` or `read`: how far it has come with any of these users. */
  state(users, seq) {
    if (this.readers(users, seq).length > 0) return "read";
    return users.some((user) => (this.#delivered.get(user) ?? 0) >= seq) ? "delivered" : "sent";
  }

  /**
   * What happened while nobody listened: a join does not tell. `ask(message)` answers a message's receipts; the newest of
   * `messages` (one's own, oldest first) are asked about, until one was read by all.
   */
  async catchUp(messages, ask) {
    for (const message of messages.slice(-LOOKS_BACK).reverse()) {
      const { seq, receipts } = await ask(message);
      for (const { user_id, delivered, read } of receipts) {
        if (delivered) this.delivered(user_id, seq);
        if (read) this.read(user_id, seq);
      }
      if (receipts.every(({ read }) => read)) return;
    }
  }
}
