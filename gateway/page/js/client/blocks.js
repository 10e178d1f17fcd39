// Whom one blocks: the list as it was asked for, and what was heard of it since.

export class Blocks {
  /** What was said last of each user: `{blocked, at}`. */
  #said = new Map();
  /** For each question that is under way, the users of whom something was heard meanwhile. */
  #underWay = new Set();

  constructor(changed) {
    this.changed = changed;
  }

  has(user) {
    return this.#said.get(user)?.blocked ?? false;
  }

  /** `ask()` answers the whole list, `[{user_id, created_at}]`. What is heard meanwhile is newer. */
  async load(ask) {
    const meanwhile = new Set();
    this.#underWay.add(meanwhile);
    try {
      const listed = new Map((await ask()).map(({ user_id, created_at }) => [user_id, { blocked: true, at: created_at }]));
      for (const user of meanwhile) listed.set(user, this.#said.get(user));
      this.#said = listed;
      this.changed();
    } finally {
      this.#underWay.delete(meanwhile);
    }
  }

  /** Takes a notice. Two of one user may come in the wrong order. */
  told({ user_id, blocked, at }) {
    if (at >= (this.#said.get(user_id)?.at ?? "")) this.#say(user_id, { blocked, at });
  }

  /** What an answer to a call said. It names no time, so every notice is as new. */
  set(user, blocked) {
    this.#say(user, { blocked, at: this.#said.get(user)?.at });
  }

  #say(user, said) {
    this.#said.set(user, said);
    for (const meanwhile of this.#underWay) meanwhile.add(user);
    this.changed();
  }
}
