// The HTTP calls that the page needs.

import { Refused } from "./push.js";

const TRIES = 4;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Api {
  /** Set while the page plays dead: nothing leaves it then. */
  offline = false;

  constructor(token) {
    this.token = token;
  }

  /** `{conversations, next_cursor}`, latest activity first. */
  conversations(cursor) {
    return this.#get(`/conversations?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  }

  conversation(id) {
    return this.#get(`/conversations/${encodeURIComponent(id)}`);
  }

  /** The id is made here, so that asking again cannot make a second one. */
  create(id, type, member_ids, metadata = {}) {
    return this.#call("POST", "/conversations", { id, type, member_ids, metadata });
  }

  /** `{messages, has_more}` in ascending `seq`; `page` is `{before_seq}` or `{after_seq}`, and `limit`. */
  messages(id, page) {
    return this.#get(`/conversations/${encodeURIComponent(id)}/messages?${new URLSearchParams(page)}`);
  }

  /** `{seq, receipts: [{user_id, delivered, delivered_at, read, read_at}]}`: who has got a message. */
  receipts({ conversation_id, id }) {
    return this.#get(`/conversations/${encodeURIComponent(conversation_id)}/messages/${id}/receipts`);
  }

  /** `{muted_until}`: one's own settings of a conversation. */
  settings(id) {
    return this.#get(`/conversations/${encodeURIComponent(id)}/settings`);
  }

  /** Mutes a conversation until an RFC 3339 time, or with null not any more; answers `{muted_until}`. */
  mute(id, muted_until) {
    return this.#call("PATCH", `/conversations/${encodeURIComponent(id)}/settings`, { muted_until });
  }

  addMember(id, user) {
    return this.#call("PUT", `/conversations/${encodeURIComponent(id)}/members/${encodeURIComponent(user)}`);
  }

  async contacts() {
    return (await this.#get("/contacts")).contacts;
  }

  /** A contact sees when one is online. It does not show the contact to oneself: that is the contact's to decide. */
  setContact(user, present) {
    return this.#call(present ? "PUT" : "DELETE", `/contacts/${encodeURIComponent(user)}`);
  }

  /** Whom one blocks, all of them: `[{user_id, created_at}]`. */
  async blocks() {
    const all = [];
    let cursor;
    do {
      const { blocks, next_cursor } = await this.#get(`/blocks?limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
      all.push(...blocks);
      cursor = next_cursor;
    } while (cursor);
    return all;
  }

  /** Who is blocked is told nothing of it. */
  setBlock(user, present) {
    return this.#call(present ? "PUT" : "DELETE", `/blocks/${encodeURIComponent(user)}`);
  }

  /** Reading may be repeated; what is busy or out of reach is asked again a little later. */
  async #get(path) {
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.#call("GET", path);
      } catch (error) {
        const passing = !(error instanceof Refused) || ["unavailable", "rate_limit_exceeded"].includes(error.reason);
        if (!passing || this.offline || tried === TRIES) throw error;
        await pause((error.response?.retry_after ?? 0.25 * 2 ** tried) * 1000);
      }
    }
  }

  async #call(method, path, body) {
    if (this.offline) throw new Error("You are offline.");
    const headers = { authorization: `Bearer ${this.token.text}`, ...(body ? { "content-type": "application/json" } : {}) };
    let response;
    let text;
    try {
      response = await fetch(`/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
      text = await response.text();
    } catch {
      // What a browser says here, every browser says in its own words.
      throw new Error("The server is out of reach.");
    }
    const answer = parsed(text);
    if (response.ok && answer) return answer;
    throw new Refused(answer?.error ?? { reason: "unavailable", message: `The server is out of order (HTTP ${response.status}).` });
  }
}

/** What an answer says; nothing where it is no JSON, as when a balancer answers in the server's place. */
function parsed(text) {
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    return undefined;
  }
}
