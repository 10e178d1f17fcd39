// Who is online, as far as they show it: by Phoenix' Presence on one's own topic, and `user_presence_changed`.

import { Presence } from "../../vendor/phoenix.mjs";

export class People extends EventTarget {
  #presence;
  #lastSeen = new Map();
  /** Whom one shows oneself to. */
  contacts = new Set();

  /** `channel` is one's own, `user:ID`. */
  follow(channel) {
    this.#presence = new Presence(channel);
    this.#presence.onSync(() => this.#changed());
    channel.on("user_presence_changed", ({ user_id, last_seen }) => {
      if (last_seen) this.#lastSeen.set(user_id, last_seen);
      this.#changed();
    });
  }

  /** `online`, `away`, `busy` or `offline`; the newest of a user's entries is the one that holds. */
  status(user) {
    return this.#presence?.state[user]?.metas.at(-1)?.status ?? "offline";
  }

  /** When they were last seen, where that is known: an RFC 3339 time. */
  lastSeen(user) {
    return this.#lastSeen.get(user);
  }

  setContacts(contacts) {
    this.contacts = new Set(contacts);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
