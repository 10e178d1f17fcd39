// A user's connection: the socket, one's own topic, and the conversations.

import { Socket } from "../../vendor/phoenix.mjs";

import { Api } from "./api.js";
import { Blocks } from "./blocks.js";
import { Conversation } from "./conversation.js";
import { uuid } from "./ids.js";
import { turn } from "./mute.js";
import { People } from "./people.js";
import { answer } from "./push.js";
import { Tap } from "./tap.js";

/** Conversations that stay joined once they were opened; a socket may have 100 channels. */
const JOINED = 20;
/** How far behind the list may be. */
const LIST_LAG_MS = 2_000;
/** A token that lasts less than this is renewed before it is shown again. */
const NEARLY_OVER_MS = 90_000;

/** The code with which a gateway closes the sockets of a user whose tokens it takes no more. */
const REVOKED = 4003;

/** Fires `change` (connection, list), `problem` with a text, `duplicate` with a reply, `removed` with a conversation. */
export class Client extends EventTarget {
  conversations = new Map();
  /** `connecting`, `connected`, `reconnecting`, `offline`, or `revoked`, which is the end. */
  state = "connecting";
  status = "online";
  /** For how long after it was sent a message may be edited, in seconds; the server says where it differs. */
  editWindow = 24 * 60 * 60;
  /** Whether the list of conversations has been loaded once. */
  loaded = false;
  tap = new Tap();
  blocks = new Blocks(() => this.#changed());
  #socket;
  #own;
  #recent = [];
  #cursor;
  #looking;
  /** What is being fetched of a conversation that was not known, by its id. */
  #fetching = new Map();
  #listening = new AbortController();

  constructor(token) {
    super();
    this.token = token;
    this.user = token.user;
    this.api = new Api(token);
    this.people = new People();
    this.#socket = new Socket("/socket", {
      transport: this.tap.transport(),
      // By subprotocol: addresses end up in logs, and a token must not.
      authToken: () => this.token.text,
    });
    this.#socket.onOpen(() => this.#moved("connected"));
    this.#socket.onClose(({ code }) => (code === REVOKED ? this.#revoked() : this.#lost()));
    this.#socket.onError(() => this.#lost());
  }

  get connected() {
    return this.state === "connected";
  }

  start() {
    this.#joinOwn();
    this.#socket.connect();
    const { signal } = this.#listening;
    // The browser knows before a heartbeat is missed.
    addEventListener("offline", () => this.goOffline(), { signal });
    addEventListener("online", () => this.goOnline(), { signal });
  }

  stop() {
    this.#listening.abort();
    clearTimeout(this.#looking);
    this.#socket.disconnect();
  }

  channel(topic, params) {
    return this.#socket.channel(topic, params);
  }

  /** What concerns the user, in whichever conversation it happens: a notice line that may miss something. */
  #joinOwn() {
    const own = this.#socket.channel(`user:${this.user}`, {});
    this.#own = own;
    this.people.follow(own);
    own.on("new_message", (message) => this.#notice(message));
    own.on("conversation_updated", (update) => this.#updated(update));
    own.on("read_receipt", (receipt) => this.conversations.get(receipt.conversation_id)?.receipt(receipt));
    own.on("delivery_receipt", (receipt) => this.conversations.get(receipt.conversation_id)?.delivered(receipt));
    own.on("blocks_updated", (notice) => this.blocks.told(notice));
    own.on("token_expiring", () => this.#renewToken());
    // After each join. What the line missed meanwhile is in here and in the list.
    own.on("sync_complete", ({ unread }) => {
      for (const one of unread) this.conversations.get(one.conversation_id)?.synced(one);
      for (const { mute } of this.conversations.values()) mute.asked = false;
      this.#quietly(this.#loadList(), "The conversations could not be fetched").then(() => this.#recent.forEach((one) => this.#askMute(one)));
    });
    own.join().receive("ok", ({ status }) => {
      this.status = status;
      this.#quietly(this.api.contacts().then((contacts) => this.people.setContacts(contacts)), "Contacts");
      this.#quietly(this.blocks.load(() => this.api.blocks()), "Whom you block could not be fetched");
      this.#changed();
    });
  }

  async #loadList(cursor) {
    const drawn = turn();
    const { conversations, next_cursor } = await this.api.conversations(cursor);
    if (!this.loaded || cursor) this.#cursor = next_cursor;
    for (const info of conversations) this.#learn(info).mute.learn(info.settings, drawn);
    this.loaded = true;
    this.#changed();
  }

  get hasMore() {
    return Boolean(this.#cursor);
  }

  /** The next page of the list. */
  async loadMore() {
    const cursor = this.#cursor;
    this.#cursor = undefined;
    try {
      await this.#loadList(cursor);
    } catch (error) {
      // To be asked for again.
      this.#cursor = cursor;
      this.report(error, "More conversations could not be fetched");
      this.#changed();
    }
  }

  #learn(info) {
    const known = this.conversations.get(info.id);
    if (known) {
      known.learn(info);
      return known;
    }
    const conversation = new Conversation(this, info);
    this.conversations.set(conversation.id, conversation);
    conversation.addEventListener("change", () => this.#changed());
    conversation.addEventListener("ended", () => this.#remove(conversation));
    conversation.addEventListener("duplicate", ({ detail }) => this.dispatchEvent(new CustomEvent("duplicate", { detail })));
    this.#changed();
    return conversation;
  }

  #remove(conversation) {
    if (!this.conversations.delete(conversation.id)) return;
    this.#recent = this.#recent.filter((one) => one !== conversation);
    conversation.close();
    this.dispatchEvent(new CustomEvent("removed", { detail: conversation }));
    this.#changed();
  }

  async #notice(message) {
    const { conversation_id: id } = message;
    if (!this.conversations.has(id)) await this.#discover(id);
    const conversation = this.conversations.get(id);
    if (!conversation) return;
    this.#askMute(conversation);
    conversation.receive(message);
  }

  /** Fetches one that is not known yet: once, however much is heard of it meanwhile. */
  #discover(id) {
    if (!this.#fetching.has(id)) {
      const fetching = this.#quietly(this.#fetch(id), "A conversation could not be fetched").finally(() => this.#fetching.delete(id));
      this.#fetching.set(id, fetching);
    }
    return this.#fetching.get(id);
  }

  #updated({ conversation_id: id, change, user_id }) {
    const known = this.conversations.get(id);
    if (change === "member_removed" && user_id === this.user) {
      if (known) this.#remove(known);
    } else if (change === "read") {
      // Perhaps on another device: the list says up to where.
      this.lookSoon();
    } else if (change === "settings") {
      // On another device, or on this one. One that is not known yet is asked about once it is.
      if (known) this.#quietly(this.#fetchMute(known), "Whether a conversation is muted could not be fetched");
    } else {
      this.#quietly(this.#fetch(id), "A conversation could not be fetched");
    }
  }

  /** Reads the list again, once it has caught up. One look at it does for all that asked for it meanwhile. */
  lookSoon() {
    this.#looking ??= setTimeout(() => {
      this.#looking = undefined;
      this.#quietly(this.#loadList(), "The conversations could not be fetched");
    }, LIST_LAG_MS);
  }

  async #fetch(id) {
    // The list knows more: what is unread.
    if (!this.conversations.has(id)) await this.#loadList();
    if (this.conversations.has(id)) this.#learn(await this.api.conversation(id));
    else await this.#fetchOld(id);
  }

  /** One that is far down the list: what was there before counts as read, until `sync_complete` says more. */
  async #fetchOld(id) {
    const info = await this.api.conversation(id);
    this.#learn({ ...info, last_read_seq: Math.max(0, info.last_seq - 1) });
  }

  /** A direct conversation with one, a group with several; the conversation. */
  async create(users, title) {
    const type = users.length === 1 && !title ? "direct" : "group";
    const info = await this.api.create(uuid(), type, users, title ? { title } : {});
    return this.#learn(info);
  }

  /** Asks whether it is muted, unless that has been done since the connection was made. */
  #askMute(conversation) {
    if (conversation.mute.asked) return;
    conversation.mute.asked = true;
    this.#quietly(this.#fetchMute(conversation), "Whether a conversation is muted could not be fetched");
  }

  async #fetchMute({ id, mute }) {
    const drawn = turn();
    mute.learn(await this.api.settings(id), drawn);
  }

  /** Mutes a conversation on all of the user's devices, until an RFC 3339 time; with null not any more. */
  async mute({ id, mute }, until) {
    const drawn = turn();
    mute.learn(await this.api.mute(id, until), drawn);
  }

  async addMember(conversation, user) {
    await this.api.addMember(conversation.id, user);
    await this.#fetch(conversation.id);
  }

  async setContact(user, present) {
    await this.api.setContact(user, present);
    this.people.setContacts(await this.api.contacts());
  }

  /** Blocks a user, or no longer does, on all of one's devices. */
  async setBlock(user, present) {
    await this.api.setBlock(user, present);
    this.blocks.set(user, present);
  }

  /** Joins a conversation; beyond some, the one that was not looked at for longest leaves. */
  open(conversation) {
    conversation.open();
    this.#askMute(conversation);
    this.#recent = [conversation, ...this.#recent.filter((one) => one !== conversation)];
    while (this.#recent.length > JOINED && this.#recent.at(-1).outbox.entries.length === 0) this.#recent.pop().close();
  }

  /** Conversations, latest activity first. */
  get list() {
    const latest = (a, b) => (a.activity < b.activity ? 1 : a.activity > b.activity ? -1 : 0);
    return [...this.conversations.values()].sort(latest);
  }

  async setStatus(status) {
    const reply = await answer(this.#own.push("update_presence", { status }));
    this.status = reply.status;
    this.#changed();
  }

  /** Loses the connection as a bad network does: phoenix.js comes back by itself. */
  cut() {
    this.#socket.conn?.close();
  }

  goOffline() {
    if (this.state === "revoked") return;
    this.api.offline = true;
    this.#moved("offline");
    this.#socket.disconnect();
  }

  goOnline() {
    if (!this.api.offline) return;
    this.api.offline = false;
    this.#moved("reconnecting");
    this.#socket.connect();
  }

  #lost() {
    if (this.state === "connected" && !this.#socket.isConnected()) this.#moved("reconnecting");
    // An old token would be refused at each attempt from now on.
    if (this.token.expiresAt - Date.now() < NEARLY_OVER_MS) this.#renewToken();
  }

  /** phoenix.js would come back, and be refused, for ever. */
  #revoked() {
    this.stop();
    this.#moved("revoked");
    this.report(new Error("Leave, and sign in again."), "Your access was taken away");
  }

  async #renewToken() {
    if (!this.token.renewable) {
      const over = this.token.expiresAt < Date.now();
      const until = `It ${over ? "was" : "is"} good until ${new Date(this.token.expiresAt).toLocaleTimeString()}.`;
      this.report(new Error(`${until} Sign in with a new one.`), over ? "Your token has expired" : "Your token expires");
      return;
    }
    await this.token.renew();
    if (this.connected) this.#own.push("access_token", { access_token: this.token.text });
  }

  #moved(state) {
    this.state = state;
    this.#changed();
    for (const conversation of this.conversations.values()) conversation.dispatchEvent(new Event("change"));
  }

  async #quietly(work, what) {
    try {
      await work;
    } catch (error) {
      this.report(error, what);
    }
  }

  /** Tells whoever shows problems. Offline it goes without saying. */
  report(error, what) {
    if (!this.api.offline) this.dispatchEvent(new CustomEvent("problem", { detail: `${what}: ${error.message}` }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
