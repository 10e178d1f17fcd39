// Who types: oneself, told sparingly, and the others, who may fall silent without a word.

const AGAIN_MS = 5_000;
const IDLE_MS = 4_000;
/** The server ends it after 10 s by itself; this is for when even that got lost. */
const LONGEST_MS = 12_000;

/** One's own typing: `start` at most every 5 s, `stop` after 4 s without a key. */
export class Typist {
  #told = 0;
  #idle;

  /** `tell("typing_start" or "typing_stop")` */
  constructor(tell) {
    this.tell = tell;
  }

  typed() {
    if (Date.now() - this.#told > AGAIN_MS) {
      this.#told = Date.now();
      this.tell("typing_start");
    }
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.stopped(), IDLE_MS);
  }

  stopped() {
    clearTimeout(this.#idle);
    if (this.#told) this.tell("typing_stop");
    this.#told = 0;
  }
}

/** The others who type in a conversation. */
export class Typists {
  #timers = new Map();

  constructor(changed) {
    this.changed = changed;
  }

  get users() {
    return [...this.#timers.keys()];
  }

  started(user) {
    clearTimeout(this.#timers.get(user));
    this.#timers.set(user, setTimeout(() => this.stopped(user), LONGEST_MS));
    this.changed();
  }

  stopped(user) {
    clearTimeout(this.#timers.get(user));
    if (this.#timers.delete(user)) this.changed();
  }

  /** Without a connection nobody knows. */
  lost() {
    for (const user of this.users) this.stopped(user);
  }
}
