// The messages of a conversation that come by HTTP: older ones page by page, and what a join's reply does not hold.

const PAGE = 50;
const CATCH_UP_PAGE = 200;

export class History {
  /** Where to go on with what became of older messages, as the server has said last. */
  since;
  /** Whether older messages were asked for in vain; they are not asked for again by themselves. */
  failed = false;
  /** For each answer that is under way, the changes that were heard meanwhile. */
  #underWay = new Set();
  #older;
  #catching;
  #wanted = false;

  /**
   * `ask(query)` answers a page of messages; `take(message)` takes one that is newer than all that are held; `changed()` is
   * called after each page; `report(error, what)` tells what did not come.
   */
  constructor(timeline, { ask, take, changed, report }) {
    Object.assign(this, { timeline, ask, take, changed, report });
  }

  /** Whether there is more above what is held. */
  get hasOlder() {
    return this.timeline.first > 1;
  }

  /** Whether older messages are on their way. */
  get loading() {
    return Boolean(this.#older);
  }

  /** One page of older messages: the one that is on its way, where there is one. */
  loadOlder() {
    if (this.#older || !this.hasOlder) return this.#older;
    this.failed = false;
    this.#older = this.#fetchOlder().finally(() => {
      this.#older = undefined;
      this.changed();
    });
    this.changed();
    return this.#older;
  }

  /** Whether the message at `seq` is held; as many older ones are loaded as that takes. */
  async reach(seq) {
    while (this.timeline.first > seq) {
      const { first } = this.timeline;
      await this.loadOlder();
      if (this.timeline.first === first) return false;
    }
    return true;
  }

  /** Fetches what comes after the last message that is held. Called again meanwhile, it looks once more. */
  catchUp() {
    this.#wanted = true;
    this.#catching ??= this.#fetchNewer().finally(() => (this.#catching = undefined));
    return this.#catching;
  }

  /** Makes a change of a message, `change(timeline)`, that was heard. */
  apply(change) {
    change(this.timeline);
    for (const meanwhile of this.#underWay) meanwhile.push(change);
  }

  async #fetchOlder() {
    try {
      await this.#read({ before_seq: this.timeline.first, limit: PAGE }, ({ messages }) => {
        for (const message of messages.toReversed()) this.timeline.put(message);
      });
    } catch (error) {
      this.failed = true;
      this.report(error, "Older messages could not be fetched");
    }
  }

  async #fetchNewer() {
    const { timeline } = this;
    try {
      while (this.#wanted) {
        this.#wanted = false;
        const page = await this.#read({ after_seq: timeline.last, since: this.since, limit: CATCH_UP_PAGE }, ({ messages, changes }) => {
          for (const message of messages) this.take(message);
          for (const message of changes) timeline.change(message);
        });
        this.since = page.change_cursor;
        this.#wanted ||= page.has_more || Boolean(page.changes_truncated);
        this.changed();
      }
    } catch (error) {
      this.#wanted = false;
      this.report(error, "Messages could not be fetched");
    }
  }

  /** Takes a page of messages. Changes that come while it is under way may be newer than it, and go on top. */
  async #read(query, take) {
    const meanwhile = [];
    this.#underWay.add(meanwhile);
    try {
      const page = await this.ask(query);
      take(page);
      for (const change of meanwhile) change(this.timeline);
      return page;
    } finally {
      this.#underWay.delete(meanwhile);
    }
  }
}
