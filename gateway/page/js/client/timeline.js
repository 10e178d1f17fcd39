// The messages of one conversation, as far as this client holds them: keyed on `id`, shown in the order of `seq`.

export class Timeline {
  #byId = new Map();
  #bySeq = new Map();
  /** The `client_random`s of one's own messages that are stored. */
  #mine = new Set();

  /** Everything from `first` to `last` is here. `last` is the position to resume from; undefined before the first join. */
  first;
  last;

  constructor(user) {
    this.user = user;
  }

  /** Where the conversation ended when it was joined for the first time: older messages are history, newer ones come. */
  begin(tail) {
    if (this.last !== undefined) return;
    this.last = tail;
    this.first = tail + 1;
  }

  /**
   * Takes a message from wherever it came: a broadcast, a join's reply, the reply to one's own send, a page of history.
   * The same one twice is one. What came ahead of a gap waits until the gap is filled: `seq` has no gaps.
   */
  put(message) {
    const known = this.#byId.get(message.id);
    // Broadcasts carry no reactions; that is not to say that there are none.
    const whole = { ...message, reactions: message.reactions ?? known?.reactions ?? {} };
    this.#byId.set(whole.id, whole);
    this.#bySeq.set(whole.seq, whole.id);
    if (whole.sender_id === this.user) this.#mine.add(whole.client_random);
    if (this.last === undefined) return;
    while (this.#bySeq.has(this.last + 1)) this.last += 1;
    while (this.#bySeq.has(this.first - 1)) this.first -= 1;
  }

  /** A message's latest form, where it is held at all: an older one comes with its page of history. */
  change(message) {
    if (this.#byId.has(message.id)) this.put(message);
  }

  react({ message_id, user_id, reaction }, present) {
    const message = this.#byId.get(message_id);
    if (!message) return;
    const { [reaction]: users = [], ...others } = message.reactions;
    const left = users.filter((user) => user !== user_id);
    const now = present ? [...left, user_id] : left;
    // In place, so that a reaction does not jump about when one more joins it.
    const reactions = now.length === 0 ? others : { ...message.reactions, [reaction]: now };
    this.#byId.set(message_id, { ...message, reactions });
  }

  /** Whether one's own message with this `client_random` is stored. */
  stored(client_random) {
    return this.#mine.has(client_random);
  }

  get(id) {
    return this.#byId.get(id);
  }

  /** Without a gap, in order. */
  shown() {
    const messages = [];
    for (let seq = this.first; seq <= this.last; seq += 1) messages.push(this.#byId.get(this.#bySeq.get(seq)));
    return messages;
  }
}
