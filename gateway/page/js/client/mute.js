// Until when one has muted a conversation. The list says it, and calls do, whose answers may overtake each other.

/** Until it is unmuted: a time has to be given, and this is the last one that the server takes. */
export const FOREVER = "9999-12-31T23:59:59.999Z";

/** A browser's timers run no longer. */
const LONGEST_MS = 2 ** 31 - 1;

let turns = 0;

/** To be drawn before the server is asked. Of two answers, the one with the later turn holds. */
export const turn = () => (turns += 1);

export class Mute {
  /** Whether the server has been asked since the connection was made: what it told before may be old. */
  asked = false;
  #until = null;
  #turn = 0;
  #end;

  constructor(changed) {
    this.changed = changed;
  }

  /** When it ends, an RFC 3339 time; null where the conversation is not muted. */
  get until() {
    return Date.parse(this.#until) > Date.now() ? this.#until : null;
  }

  /** Takes an answer, and the turn that was drawn for it. */
  learn({ muted_until }, drawn) {
    if (drawn < this.#turn) return;
    this.#turn = drawn;
    this.asked = true;
    this.#until = muted_until;
    this.#awaitEnd();
    this.changed();
  }

  #awaitEnd() {
    clearTimeout(this.#end);
    const left = Date.parse(this.until) - Date.now();
    if (left > 0) this.#end = setTimeout(() => this.#ended(), Math.min(left, LONGEST_MS));
  }

  #ended() {
    this.#awaitEnd();
    this.changed();
  }
}
