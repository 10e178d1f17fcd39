// The messages of one conversation, as far as this client holds them: keyed on `id`, shown in the order of `seq`.

/** What is left of a message that is deleted, for everyone or for oneself. */
const BLANK = { content: "", metadata: {}, reply_to_id: null, reply_to: undefined, reactions: {} };
/** How much of a message its quotes show, in characters: as much as the server does. */
const PREVIEW = 100;

/** Whether a message was deleted, for everyone or by oneself for oneself. */
export const isGone = (message) => Boolean(message.deleted_at || message.hidden);

const previewOf = (message) => (isGone(message) ? null : [...message.content].slice(0, PREVIEW).join(""));

export class Timeline {
  #byId = new Map();
  #bySeq = new Map();
  /** The `client_random`s of one's own messages that are stored. */
  #mine = new Set();
  /** How messages begin that changed, whether they are held or not: others may quote them. */
  #previews = new Map();

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

  /** Takes a message as it was sent: a broadcast, or the reply to one's own send. What is held already is as new, or newer. */
  add(message) {
    if (!this.#byId.has(message.id)) this.put(message);
  }

  /**
   * Takes a message in its latest form: a join's reply, a page of history, a change. The same one twice is one. What came
   * ahead of a gap waits until the gap is filled: `seq` has no gaps.
   */
  put(message) {
    const known = this.#byId.get(message.id);
    // Broadcasts carry no reactions; that is not to say that there are none.
    const reactions = isGone(message) ? {} : message.reactions ?? known?.reactions ?? {};
    const whole = { ...message, reactions };
    this.#byId.set(whole.id, whole);
    this.#bySeq.set(whole.seq, whole.id);
    if (whole.sender_id === this.user) this.#mine.add(whole.client_random);
    if (this.last === undefined) return;
    while (this.#bySeq.has(this.last + 1)) this.last += 1;
    while (this.#bySeq.has(this.first - 1)) this.first -= 1;
  }

  /** A message's latest form, where it is held at all: an older one comes with its page of history. */
  change(message) {
    this.#previews.set(message.id, previewOf(message));
    if (this.#byId.has(message.id)) this.put(message);
  }

  /** It was deleted for everyone. */
  delete({ message_id, at }) {
    this.#blank(message_id, { deleted_at: at });
  }

  /** The user has deleted it for itself, here or on another device. */
  hide({ message_id }) {
    this.#blank(message_id, { hidden: true });
  }

  #blank(id, mark) {
    this.#previews.set(id, null);
    const message = this.#byId.get(id);
    if (message) this.put({ ...message, ...BLANK, ...mark });
  }

  react({ message_id, user_id, reaction }, present) {
    const message = this.#byId.get(message_id);
    if (!message || isGone(message)) return;
    const { [reaction]: users = [], ...others } = message.reactions;
    const left = users.filter((user) => user !== user_id);
    const now = present ? [...left, user_id] : left;
    // In place, so that a reaction does not jump about when one more joins it.
    const reactions = now.length === 0 ? others : { ...message.reactions, [reaction]: now };
    this.#byId.set(message_id, { ...message, reactions });
  }

  /**
   * The message that this one answers, `{id, seq, sender_id, preview}`, as it is now and not as it was when the answer was
   * read; `preview` is null where it is gone.
   */
  quote({ reply_to }) {
    if (!reply_to) return undefined;
    const held = this.#byId.get(reply_to.id);
    const told = this.#previews.get(reply_to.id);
    return { ...reply_to, preview: held ? previewOf(held) : told === undefined ? reply_to.preview : told };
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
