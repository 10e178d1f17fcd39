// Users who talk while everything fails around them: stock phoenix.js clients that retry what was not acknowledged.

import { randomUUID } from "node:crypto";

import { Presence } from "../phoenix.mjs";

import { Client, Refused } from "../client.mjs";
import { http, token } from "../support.mjs";
import { until } from "../wait.mjs";
import { Screen, caller } from "./screen.mjs";
import { Answers } from "./transport.mjs";

const REACTIONS = ["👍", "🎉", "👀"];
/** What a client may meet and tries again after. */
const PASSING = new Set(["unavailable", "rate_limit_exceeded"]);
/** Messages of one user that wait for their acknowledgement at a time; then it waits, too. */
const AT_ONCE = 2;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One user with one socket, joined to some conversations. */
class Member {
  /** Sends: `{conversation, client_random, content, began, acked, reply, attempts}`. */
  sends = [];
  /** Reactions by `message reaction`: `{wanted, unsure}`. */
  reacted = new Map();
  wrongs = [];

  constructor(user, crowd) {
    Object.assign(this, { user, crowd, chance: crowd.chance.fork() });
    const bearer = () => token(user);
    const pick = () => crowd.balancer.pick();
    this.client = new Client(user, {
      gateway: pick().url,
      token: bearer,
      transport: crowd.answers.transport(pick),
      heartbeatIntervalMs: 4000,
      reconnectAfterMs: (tries) => [50, 200, 500, 1000][tries - 1] ?? 1500,
      rejoinAfterMs: (tries) => [100, 300, 1000][tries - 1] ?? 2000,
    });
    this.call = caller(pick, bearer);
    this.own = this.client.socket.channel(`user:${user}`, {});
    this.contacts = new Presence(this.own);
    this.screens = [];
  }

  enter(id) {
    this.screens.push(new Screen(this.client, id, this.call));
  }

  connect() {
    this.client.socket.connect();
    this.own.join();
    this.screens.forEach((screen) => screen.join());
  }

  get isIn() {
    return this.own.isJoined() && this.screens.every(({ channel }) => channel.isJoined());
  }

  get seesContacts() {
    return Object.fromEntries(this.contacts.list((user, { metas }) => [user, metas.length]));
  }

  /** Talks until `stopped()`, then finishes what it began. */
  async talk(stopped) {
    const { every } = this.crowd;
    const sending = async () => {
      while (!stopped()) {
        await pause(this.chance.between(0.2, 1.8) * every * AT_ONCE);
        await this.send(this.chance.pick(this.screens));
      }
    };
    const reacting = async () => {
      while (!stopped()) {
        await pause(this.chance.between(1, 5) * every);
        await this.react(this.chance.pick(this.screens));
      }
    };
    await Promise.all([...Array.from({ length: AT_ONCE }, sending), reacting()]);
  }

  /** One message, pushed with the same `client_random` until it is acknowledged. */
  async send(screen) {
    const send = {
      conversation: screen.id, sender: this.user, client_random: randomUUID(),
      content: `${this.user} #${this.sends.length}`, began: performance.now(), attempts: 0,
    };
    this.sends.push(send);
    const { client_random, content } = send;
    const push = () => this.push(screen, "send_message", { message_type: "text", content, client_random }, send);
    // Now and then twice at once, as an impatient user's client does.
    const replies = await Promise.all(this.chance.happens(0.05) ? [push(), push()] : [push()]);
    send.acked = performance.now();
    [send.reply] = replies;
    for (const reply of replies) {
      if (reply.message_id !== send.reply.message_id || reply.seq !== send.reply.seq) {
        this.wrongs.push(`two replies for one client_random: ${JSON.stringify(replies)}`);
      }
    }
    if (replies.length > 1 && replies.every(({ duplicate }) => !duplicate) && replies.length === send.attempts) {
      this.wrongs.push(`neither of two pushes of ${client_random} was called a duplicate`);
    }
  }

  /** Adds or removes a reaction to one of the latest messages shown. */
  async react(screen) {
    const message = screen.shown.at(-1 - this.chance.below(5));
    if (!message) return;
    const reaction = this.chance.pick(REACTIONS);
    const key = `${message.id} ${reaction}`;
    const state = this.reacted.get(key) ?? { wanted: false, unsure: false, attempts: 0, user: this.user, id: message.id, reaction };
    this.reacted.set(key, state);
    const wanted = !state.wanted;
    await this.push(screen, wanted ? "add_reaction" : "remove_reaction", { message_id: message.id, reaction }, state);
    state.wanted = wanted;
  }

  /** Pushes until the answer is ok. Where a socket ended before it, `memory.unsure` becomes true. */
  async push(screen, event, payload, memory) {
    const { channel } = screen;
    for (;;) {
      await until(() => channel.isJoined(), { timeout: 120_000, what: `${this.user} to be in ${channel.topic} again` });
      memory.attempts += 1;
      try {
        return await this.attempt(channel, event, payload);
      } catch (error) {
        if (error instanceof Refused && !PASSING.has(error.response.reason)) {
          this.wrongs.push(`${event}: ${error.message}`);
          throw error;
        }
        if (!(error instanceof Refused)) memory.unsure = true;
        await pause(this.chance.between(100, 400));
      }
    }
  }

  /** One push; it fails as soon as its channel is lost, for nobody will answer it then. */
  attempt(channel, event, payload) {
    return new Promise((resolve, reject) => {
      const lost = channel.onError(() => done(reject)(new Error("the channel was lost")));
      const done = (settle) => (value) => {
        channel.off("phx_error", lost);
        settle(value);
      };
      channel.push(event, payload)
        .receive("ok", done(resolve))
        .receive("error", (response) => done(reject)(new Refused(event, response)))
        .receive("timeout", () => done(reject)(new Error("no answer")));
    });
  }
}

export class Crowd {
  answers = new Answers();
  members = [];
  /** Conversation ids, and who is in each. */
  conversations = new Map();

  /** `every` is the mean time in ms between two sends of one user. */
  constructor(cluster, balancer, chance, { users = 24, conversations = 6, each = 8, every = 700 } = {}) {
    Object.assign(this, { cluster, balancer, chance, users, count: conversations, each, every });
  }

  /** Makes the conversations and contacts, and waits until everybody is in. */
  async gather() {
    const suffix = randomUUID().slice(0, 8);
    const names = Array.from({ length: this.users }, (_, n) => `user${n}-${suffix}`);
    this.members = names.map((name) => new Member(name, this));
    const as = (user, method, path, body) => http(this.cluster.gateways[0], method, path, { token: token(user), body });
    for (let n = 0; n < this.count; n += 1) {
      const [creator, ...others] = Array.from({ length: this.each }, (_, k) => names[(n * Math.ceil(this.users / this.count) + k) % this.users]);
      const made = await as(creator, "POST", "/api/v1/conversations", { id: randomUUID(), type: "group", member_ids: others });
      if (made.status !== 201) throw new Error(`a conversation was not made: ${JSON.stringify(made.body)}`);
      this.conversations.set(made.body.id, [creator, ...others]);
      for (const member of this.members) if ([creator, ...others].includes(member.user)) member.enter(made.body.id);
    }
    // Each shows itself to the next.
    for (const [n, name] of names.entries()) {
      const added = await as(name, "PUT", `/api/v1/contacts/${names[(n + 1) % names.length]}`);
      if (added.status !== 204) throw new Error(`a contact was not added: ${JSON.stringify(added.body)}`);
    }
    this.members.forEach((member) => member.connect());
    await until(() => this.allIn, { timeout: 30_000, what: "everybody to be in" });
  }

  get allIn() {
    return this.members.every((member) => member.isIn);
  }

  get screens() {
    return this.members.flatMap((member) => member.screens);
  }

  get sends() {
    return this.members.flatMap((member) => member.sends);
  }

  /** Who sees whom wrongly now, a line each. */
  ghosts() {
    const lines = [];
    for (const screen of this.screens) {
      const wanted = Object.fromEntries(this.conversations.get(screen.id).map((user) => [user, 1]));
      compare(`${screen.client.user} in ${screen.id}`, screen.present, wanted, lines);
    }
    for (const [n, member] of this.members.entries()) {
      const before = this.members.at(n - 1);
      compare(`${member.user} among contacts`, member.seesContacts, { [before.user]: 1 }, lines);
    }
    return lines;
  }

  async leave() {
    await Promise.all(this.members.map((member) => member.client.close()));
  }
}

function compare(where, seen, wanted, lines) {
  for (const user of new Set([...Object.keys(seen), ...Object.keys(wanted)])) {
    if (seen[user] !== wanted[user]) lines.push(`${where}: ${user} with ${seen[user] ?? 0} connections, not ${wanted[user] ?? 0}`);
  }
}
