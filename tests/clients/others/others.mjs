// Clients by other authors, in other languages, unmodified: each in a program that takes lines of JSON, walking join,
// push, reply, broadcast, leave, reconnect and rejoin beside phoenix.js. What one cannot do, its entry says; the reasons
// are in docs/clients.md.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import WebSocket from "ws";

import { wiredFor } from "../chaos/cluster.mjs";
import { http, token } from "../support.mjs";
import { holds, until } from "../wait.mjs";

const here = (file) => fileURLToPath(new URL(file, import.meta.url));
const PYTHON = process.env.SIMURGH_TEST_CLIENTS_PYTHON;

const CLIENTS = [
  { name: "phxsocket (Python, vsn 1)", command: [PYTHON, here("phxsocket_client.py")], pushes: true, takesParams: true },
  { name: "phoenix-channels-python-client (Python, vsn 1)", command: [PYTHON, here("phoenix_channels_client.py")], comesBack: true },
  { name: "phoenix_channels_client (Rust, vsn 2)", command: [process.env.SIMURGH_TEST_CLIENTS_RUST], pushes: true },
];

const file = wiredFor({ before, after });

/** A client's program. */
class Other {
  #answers = [];
  /** Payloads of `new_message`. */
  seen = [];

  constructor([program, ...args]) {
    assert.ok(program, "tests/run --only clients sets the programs up");
    this.process = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.process.stdout }).on("line", (line) => {
      const said = JSON.parse(line);
      // The user's own topic tells of each message, too.
      if (said.event) this.seen.push(...(said.topic.startsWith("conversation:") ? [said.payload] : []));
      else this.#answers.shift()?.(said);
    });
  }

  /** Has it do something; `{ok}` or `{error}`. */
  async do(what, rest = {}) {
    let answer;
    this.#answers.push((said) => (answer = said));
    this.process.stdin.write(`${JSON.stringify({ do: what, ...rest })}\n`);
    return until(() => answer, { timeout: 15_000, what: `an answer to ${what}` });
  }

  async well(what, rest) {
    const { ok, error } = await this.do(what, rest);
    assert.equal(error, undefined, `${what}: ${error}`);
    return ok;
  }

  has(content) {
    return until(() => this.seen.find((message) => message.content === content), { what: () => `"${content}"; seen: ${this.seen.map((message) => message.content)}` });
  }

  async close() {
    this.process.stdin.end();
    await Promise.race([new Promise((resolve) => this.process.on("exit", resolve)), new Promise((resolve) => setTimeout(resolve, 2000))]);
    this.process.kill("SIGKILL");
  }
}

/** Ends a gateway at once, or as one that is told to stop. */
async function end(gateway, how) {
  if (how === "kill") return gateway.kill();
  gateway.signal("SIGTERM");
  assert.deepEqual(await gateway.ended(30_000), { code: 0, signal: null });
}

test("phoenix.js 1.7 comes back from a killed gateway and from one that drains, and misses nothing", { timeout: 120_000 }, async (t) => {
  const scene = file.scene(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const [goes, stays] = file.cluster.gatewayPrograms;
  const id = await scene.group([alice, bob]);
  const b = await (await scene.client(bob, { gateway: stays.url })).join(`conversation:${id}`);
  const { Socket } = await import("phoenix-1.7");
  const socket = new Socket(`${goes.url.replace("http", "ws")}/socket`, {
    transport: WebSocket, params: () => ({ token: token(alice) }), reconnectAfterMs: () => 100, rejoinAfterMs: () => 200,
  });
  t.after(() => socket.disconnect());
  const codes = [];
  socket.onClose(({ code }) => codes.push(code));
  const seen = [];
  const channel = socket.channel(`conversation:${id}`, () => ({ last_seq: seen.length }));
  channel.on("new_message", ({ content }) => seen.push(content));
  channel.join().receive("ok", ({ messages }) => seen.push(...messages.map(({ content }) => content)));
  socket.connect();
  const sent = [];
  const says = async (content) => sent.push((await b.send(content)) && content);
  await until(() => channel.isJoined(), { what: "alice to have joined" });
  for (const how of ["kill", "drain"]) {
    await says(`before the ${how}`);
    await end(goes, how);
    await says(`during the ${how}`);
    await file.cluster.restart(goes);
    await says(`after the ${how}`);
    await until(() => seen.length === sent.length, { timeout: 30_000, what: () => `all of ${sent}; seen: ${seen}` });
    assert.deepEqual(seen, sent);
  }
  assert.ok(codes.includes(1006) && codes.includes(1012), `${codes}`);
});

for (const { name, command, pushes, comesBack, takesParams } of CLIENTS) {
  test(name, { timeout: 120_000 }, async (t) => {
    const scene = file.scene(t);
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const [goes, stays] = file.cluster.gatewayPrograms;
    const [id, foreign] = [await scene.group([alice, bob]), await scene.group([bob])];
    const topic = `conversation:${id}`;
    const b = await (await scene.client(bob, { gateway: stays.url })).join(topic);
    const other = new Other(command);
    t.after(() => other.close());
    const connect = () => other.well("connect", { url: `${goes.url.replace("http", "ws")}/socket/websocket`, token: token(alice) });

    await connect();
    await other.well("join", { topic: `user:${alice}` });
    await other.well("join", { topic });
    const sent = await b.send("hello");
    const heard = await other.has("hello");
    assert.deepEqual([heard.id, heard.seq, heard.sender_id, heard.conversation_id], [sent.message_id, 1, bob, id]);
    assert.match((await other.do("join", { topic: `conversation:${foreign}` })).error, /not_a_member/);

    if (pushes) {
      const text = { message_type: "text", content: "from another client", client_random: "1" };
      const reply = await other.well("push", { topic, event: "send_message", payload: text });
      assert.equal(reply.status, "ok");
      const there = await b.first("new_message", ({ content }) => content === text.content);
      assert.deepEqual([there.id, there.seq], [reply.response.message_id, reply.response.seq]);
      const again = await other.well("push", { topic, event: "send_message", payload: text });
      assert.deepEqual([again.response.message_id, again.response.duplicate], [there.id, true]);
      const refused = await other.well("push", { topic, event: "send_message", payload: {} });
      assert.deepEqual([refused.status, refused.response.reason], ["error", "validation_failed"]);
      const unknown = await other.well("push", { topic, event: "dance", payload: {} });
      assert.equal(unknown.response.reason, "unknown_event");
      await other.has(text.content);
    }

    for (const how of ["kill", "drain"]) {
      const last_seq = other.seen.at(-1).seq;
      await end(goes, how);
      await b.send(`missed at the ${how}`);
      await file.cluster.restart(goes);
      if (comesBack) {
        await until(async () => {
          await b.send(`back from the ${how}?`);
          // Within bob's own rate.
          await new Promise((resolve) => setTimeout(resolve, 250));
          return other.seen.some(({ content }) => content === `back from the ${how}?`);
        }, { timeout: 40_000, what: "it to come back by itself" });
      } else {
        await connect();
        await other.well("join", { topic: `user:${alice}` });
        const joined = await other.well("join", { topic, params: { last_seq } });
        if (takesParams) assert.deepEqual(joined.messages.map(({ content }) => content), [`missed at the ${how}`]);
      }
      await b.send(`after the ${how}`);
      await other.has(`after the ${how}`);
      // What a client cannot ask for at its join, it reads.
      const history = await http(stays.url, "GET", `/api/v1/conversations/${id}/messages?after_seq=${last_seq}`, { token: token(alice) });
      assert.equal(history.body.messages[0].content, `missed at the ${how}`);
    }
    const seqs = other.seen.map(({ seq }) => seq);
    assert.deepEqual(seqs, [...new Set(seqs)].sort((x, y) => x - y), "in order, and nothing twice");

    await other.well("leave", { topic });
    const count = other.seen.length;
    await b.send("nobody hears this");
    await holds(() => other.seen.length === count, 500, "silence after leaving");
  });
}
