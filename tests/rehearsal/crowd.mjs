// A part of the clients, in a process of its own: told by its parent what to do, it answers what came of it. Times that
// cross processes are in ms since 1970.

import { randomUUID } from "node:crypto";
import { monitorEventLoopDelay } from "node:perf_hooks";

import { Screen, caller } from "../clients/chaos/screen.mjs";
import { Answers } from "../clients/chaos/transport.mjs";
import { history, judgeLog, judgeScreen } from "../clients/chaos/verdict.mjs";
import { Client } from "../clients/client.mjs";
import { http, token } from "../clients/support.mjs";
import { together, until } from "../clients/wait.mjs";

/** Who connects at a time: they are to be there, not to be a storm. */
const AT_ONCE = 25;
/** What may be answered instead, and then the same is sent again. */
const PASSING = ["unavailable", "rate_limit_exceeded"];
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 4000;
/** Until all that was sent is acknowledged, once nothing is away any more. */
const PATIENCE_MS = 120_000;
/** What this machine may take for itself beyond the 8 s in which every push is answered. */
const SLACK_MS = 1000;
/** The rarest look of a gateway at a log, in which a message that was lost on the way is found. */
const LOOK_MS = 35_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const wall = (at) => performance.timeOrigin + at;

const { url, conversations: count, each } = JSON.parse(process.argv[2]);
const answers = new Answers();
/** When a socket opened, and how often one did not. */
const opens = [];
let failures = 0;
const lag = monitorEventLoopDelay({ resolution: 20 });
lag.enable();

/** As `Answers` has it, and remembers what opened. */
class Transport extends answers.transport(() => ({ url })) {
  constructor(...args) {
    super(...args);
    this.on("open", () => opens.push(performance.now()));
    this.on("error", () => (failures += this.wasOpen ? 0 : 1));
  }
}

/** A user with one stock phoenix.js socket, on its own topic and in one conversation. */
class Member {
  constructor(user, id) {
    this.user = user;
    const bearer = () => token(user);
    // The times after which it tries again are the client's own.
    this.client = new Client(user, {
      gateway: url, token: bearer, transport: Transport, reconnectAfterMs: undefined, rejoinAfterMs: undefined,
    });
    this.screen = new Screen(this.client, id, caller(() => ({ url }), bearer));
    this.own = this.client.socket.channel(`user:${user}`, {});
  }

  connect() {
    this.client.socket.connect();
    this.own.join();
    this.screen.join();
  }

  get isIn() {
    return this.own.isJoined() && this.screen.channel.isJoined();
  }

  /** Sends one message, due at `began`, again and again with the same name until it is acknowledged. */
  async send(send) {
    const payload = { message_type: "text", content: send.content, client_random: send.client_random };
    for (let wait = FIRST_PAUSE_MS; ; wait = Math.min(2 * wait, LONGEST_PAUSE_MS)) {
      send.attempts += 1;
      const [status, response] = await this.#push(payload);
      if (status === "ok") return Object.assign(send, { reply: response, acked: performance.now() });
      if (status === "error" && !PASSING.includes(response.reason)) throw new Error(`${send.content}: ${JSON.stringify(response)}`);
      await pause(wait * (0.5 + Math.random()));
    }
  }

  /** How a push ended. One whose channel is lost is not waited for: nobody answers it any more. */
  #push(payload) {
    const { channel } = this.screen;
    return new Promise((resolve) => {
      const done = (...outcome) => {
        channel.off("phx_error", lost);
        resolve(outcome);
      };
      const lost = channel.onError(() => done("lost"));
      const push = channel.push("send_message", payload);
      for (const status of ["ok", "error", "timeout"]) push.receive(status, (response) => done(status, response));
    });
  }
}

const groups = [];
const members = [];
let talk;
let sends = [];

async function makeGroups() {
  for (let n = 0; n < count; n += 1) {
    const users = Array.from({ length: each }, () => `user-${randomUUID().slice(0, 13)}`);
    const [creator, ...others] = users;
    const made = await http(url, "POST", "/api/v1/conversations", { token: token(creator), body: { id: randomUUID(), type: "group", member_ids: others } });
    if (made.status !== 201) throw new Error(`a conversation was not made: ${JSON.stringify(made.body)}`);
    const group = { id: made.body.id, members: users.map((user) => new Member(user, made.body.id)), sends: [] };
    groups.push(group);
    members.push(...group.members);
  }
}

/** Which conversations show others than their members, each once: a line each. */
function ghosts() {
  return groups.flatMap((group) => group.members
    .filter(({ screen }) => {
      const present = Object.entries(screen.present);
      return present.length !== each || present.some(([, metas]) => metas !== 1);
    })
    .map(({ user, screen }) => `${user} sees ${Object.keys(screen.present).length} of ${each} in ${group.id}`));
}

/** What one conversation's log and screens say, once they had time to agree. */
async function judge(group) {
  const stored = await history(url, group.members[0].user, group.id);
  const behind = () => group.members.some(({ screen }) => screen.last < stored.length);
  await until(() => !behind(), { timeout: LOOK_MS }).catch(() => {});
  const verdicts = [judgeLog(group.id, stored, group.sends), ...group.members.map(({ screen }) => judgeScreen(screen, stored))];
  return verdicts.map((verdict, n) => ({ ...verdict, stored: n === 0 ? stored.length : 0 }));
}

/** Latencies in ms of what was due in this part: until it was acknowledged (and when that was), and until it was on each screen. */
function latencies(part) {
  const began = new Map(part.map((send) => [send.reply.message_id, send.began]));
  const seen = members.flatMap(({ screen }) => screen.shown.filter(({ id }) => began.has(id)).map(({ id, at }) => at - began.get(id)));
  return { acked: part.map((send) => send.acked - send.began), ackedAt: part.map((send) => wall(send.acked)), seen };
}

const todo = {
  async gather() {
    await makeGroups();
    for (let at = 0; at < members.length; at += AT_ONCE) {
      const some = members.slice(at, at + AT_ONCE);
      some.forEach((member) => member.connect());
      await until(() => some.every(({ isIn }) => isIn), { timeout: 60_000, what: "a part of the clients to be in" });
    }
  },

  /** From now on one message is due each `every` ms, by whoever's turn it is. */
  talk({ every }) {
    const begin = performance.now();
    const sending = [];
    sends = [];
    let turn = 0;
    const timer = setInterval(() => {
      for (; begin + turn * every <= performance.now(); turn += 1) {
        // From one conversation to the next, and to the next member of each in the round after.
        const group = groups[turn % groups.length];
        const member = group.members[Math.floor(turn / groups.length) % each];
        const send = {
          conversation: group.id, sender: member.user, client_random: randomUUID(),
          content: `${member.user} #${group.sends.length}`, began: begin + turn * every, attempts: 0,
        };
        group.sends.push(send);
        sends.push(send);
        sending.push(member.send(send));
        sending.at(-1).catch(() => {});
      }
    }, 5);
    talk = async () => {
      clearInterval(timer);
      const waiting = () => sends.filter(({ acked }) => !acked).length;
      const acknowledged = together(sending);
      acknowledged.catch(() => {});
      await until(() => waiting() === 0, { timeout: PATIENCE_MS, what: () => `${waiting()} messages to be acknowledged` });
      await acknowledged;
    };
  },

  /** Nothing new is sent; answers once all that was is acknowledged. */
  async hush() {
    await talk();
    return { sent: sends.length, again: sends.filter(({ attempts }) => attempts > 1).length, ...latencies(sends) };
  },

  state: () => ({ out: members.filter(({ isIn }) => !isIn).length, ghosts: ghosts() }),

  /** Everything that was said so far, compared with what is stored. */
  async judge() {
    const total = { lost: 0, duplicated: 0, misplaced: 0, stored: 0, lines: [] };
    for (let at = 0; at < groups.length; at += 8) {
      for (const verdict of (await together(groups.slice(at, at + 8).map(judge))).flat()) {
        for (const what of ["lost", "duplicated", "misplaced", "stored"]) total[what] += verdict[what];
        total.lines.push(...verdict.lines);
      }
    }
    total.lines.push(...answers.wrongs(() => 0, SLACK_MS + lag.max / 1e6));
    return { ...total, lines: [...new Set(total.lines)].slice(0, 50), longestMs: answers.longest(() => 0), lagMs: lag.max / 1e6 };
  },

  /** What happened to sockets since the last time this was asked; refused pushes by reason. */
  happened() {
    const joins = answers.pushes.filter(({ event, status }) => event === "phx_join" && status === "ok").map(({ answered }) => wall(answered));
    const said = {
      opens: opens.map(wall), joins, failures, refusals: answers.refusals(),
      closes: answers.closes.map(({ code, at }) => ({ code, at: wall(at) })),
    };
    opens.length = 0;
    failures = 0;
    answers.closes = [];
    // What is not answered yet is still waited for.
    answers.pushes = answers.pushes.filter(({ answered, ended }) => !answered && !ended);
    return said;
  },

  async leave() {
    await Promise.all(members.map(({ client }) => client.close()));
  },
};

process.on("message", async ({ number, name, options }) => {
  try {
    process.send({ number, said: (await todo[name](options)) ?? null });
  } catch (error) {
    process.send({ number, failed: error.stack });
  }
});
// Nobody is there any more who would end it.
process.on("disconnect", () => process.exit(1));
