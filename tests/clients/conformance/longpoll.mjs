// Long poll: requests and answers, each to the next gateway, whichever one opened the session.

import assert from "node:assert/strict";

import { LongPoll, Socket } from "../phoenix.mjs";

import { startBalancer } from "../balancer.mjs";
import { Client } from "../client.mjs";
import { suite, token, walk } from "../support.mjs";
import { until } from "../wait.mjs";

const BEAT = '[null,"1","phoenix","heartbeat",{}]';
const ALIVE = '[null,"1","phoenix","phx_reply",{"response":{},"status":"ok"}]';

/** One who asks by long poll, with nothing but `fetch`. */
class Caller {
  constructor(scene, query) {
    Object.assign(this, { scene, query });
  }

  static as(scene, user, options) {
    return new Caller(scene, `vsn=2.0.0&token=${token(user, options)}`);
  }

  async call(method, { body, kind, headers = {} } = {}) {
    const session = this.session ? `&token=${this.session}` : "";
    const response = await fetch(`${this.scene.gateway()}/socket/longpoll?${this.query}${session}`, {
      method, body, headers: { ...(kind ? { "content-type": kind } : {}), ...headers },
    });
    const text = await response.text();
    return { http: response.status, headers: response.headers, body: text === "" ? "" : JSON.parse(text) };
  }

  async poll() {
    const { body } = await this.call("GET");
    this.session = body.token;
    return body;
  }

  async post(body, kind = "application/x-ndjson") {
    return (await this.call("POST", { body, kind })).body;
  }

  async opened() {
    const { status, token: session, messages } = await this.poll();
    assert.deepEqual([status, typeof session, messages], [410, "string", []]);
    return this;
  }
}

suite("requests", () => {
  walk("a session begins with 410 and its token, messages are texts, and 204 says that there was nothing", async (scene) => {
    const alice = await Caller.as(scene, scene.user("alice")).opened();
    assert.deepEqual(await alice.post(BEAT, "application/json"), { status: 200 });
    const answer = await alice.poll();
    assert.deepEqual(Object.keys(answer).sort(), ["messages", "status", "token"]);
    assert.deepEqual([answer.status, answer.messages], [200, [ALIVE]]);
    assert.deepEqual(await alice.post([BEAT, BEAT, BEAT].join("\n")), { status: 200 });
    assert.deepEqual((await alice.poll()).messages, [ALIVE, ALIVE, ALIVE]);
    const began = performance.now();
    const { status, messages } = await alice.poll();
    assert.deepEqual([status, messages], [204, []]);
    assert.ok(Math.abs(performance.now() - began - 10_000) < 2000, "a window of 10 s");
  });

  walk("who may not have a session is told so in the body, and every page may read it", async (scene) => {
    for (const query of ["vsn=2.0.0", "vsn=2.0.0&token=abc", `vsn=3.0.0&token=${token(scene.user("alice"))}`, `vsn=2.0.0&token=${token("alice", { ttl: -60 })}`]) {
      const { http, headers, body } = await new Caller(scene, query).call("GET");
      assert.deepEqual([http, body, headers.get("access-control-allow-origin")], [200, { status: 403 }, "*"], query);
    }
    const nobody = new Caller(scene, "vsn=2.0.0");
    for (const session of [undefined, "nope", "lp~nope"]) {
      assert.deepEqual(await Object.assign(nobody, { session }).post(BEAT), { status: 410 });
    }
  });

  walk("browsers may ask, and other methods are none", async (scene) => {
    const caller = Caller.as(scene, scene.user("alice"));
    const asked = await caller.call("OPTIONS", { headers: { origin: "https://app.example", "access-control-request-headers": "x-phoenix-authtoken" } });
    assert.deepEqual([asked.http, asked.body, asked.headers.get("access-control-allow-headers")], [200, "", "x-phoenix-authtoken"]);
    for (const method of ["PUT", "DELETE"]) {
      const { http, body } = await caller.call(method);
      assert.deepEqual([http, body], [400, ""], method);
    }
  });

  walk("a session that is over is followed by a new one, though both tokens have one name", async (scene) => {
    const alice = await Caller.as(scene, scene.user("alice")).opened();
    const over = alice.session;
    assert.deepEqual(await alice.post("{", "application/json"), { status: 408 });
    assert.deepEqual(await alice.post(BEAT), { status: 410 });
    const alone = Object.assign(new Caller(scene, "vsn=2.0.0"), { session: over });
    assert.deepEqual((await alone.call("GET")).body, { status: 403 });
    // In the other order, too.
    const turned = new Caller(scene, `token=${over}&${alice.query}`);
    assert.equal((await turned.call("GET")).body.status, 410);
    // phoenix.js before 1.8, which tells by a content type, would take a 410 for its first answer.
    assert.deepEqual((await alice.call("GET", { kind: "application/json" })).body, { status: 500 });
    assert.equal((await alice.poll()).status, 410);
    assert.notEqual(alice.session, over);
    await alice.post(BEAT);
    assert.deepEqual((await alice.poll()).messages, [ALIVE]);
  });
});

/** phoenix.js at a balancer that lets no WebSockets through. */
async function blocked(scene, t) {
  const balancer = await startBalancer(() => scene.gateways);
  t.push(balancer);
  return balancer.url;
}

suite("phoenix.js", () => {
  walk("falls back where WebSockets do not get through, and walks through the guide", async (scene) => {
    const balancers = [];
    const url = await blocked(scene, balancers);
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const clients = [];
    for (const user of [alice, bob]) {
      const client = new Client(user, { gateway: url, token: () => token(user), longPollFallbackMs: 1000 });
      clients.push(client);
      await client.connect();
      assert.ok(client.socket.conn instanceof LongPoll);
    }
    try {
      const own = await clients[0].joinOwn();
      assert.equal(own.reply.user_id, alice);
      assert.deepEqual(await own.push("update_presence", { status: "away" }), { status: "away" });
      const [a, b] = [await clients[0].join(`conversation:${id}`), await clients[1].join(`conversation:${id}`)];
      await a.push("typing_start");
      await b.first("typing_indicator", ({ user_id, action }) => user_id === alice && action === "start");
      const { message_id } = await a.send("Hello World!");
      await b.first("new_message", (message) => message.id === message_id && message.content === "Hello World!");
      await b.push("add_reaction", { message_id, reaction: "👍" });
      await a.first("reaction_added", ({ user_id, reaction }) => user_id === bob && reaction === "👍");
      await b.push("remove_reaction", { message_id, reaction: "👍" });
      await b.push("mark_as_read", { message_id });
      await a.first("read_receipt", ({ user_id }) => user_id === bob);
      await b.leave();
      await a.first("user_left", ({ user_id }) => user_id === bob);
      clients[0].drop();
      await until(() => a.channel.isJoined());
      await a.send("back again");
    } finally {
      await Promise.all(clients.map((client) => client.close()));
      balancers.forEach((balancer) => balancer.stop());
    }
  });

  walk("may pass its token as authToken", async (scene) => {
    const balancers = [];
    const alice = scene.user("alice");
    const socket = new Socket(`${await blocked(scene, balancers)}/socket`, { transport: LongPoll, authToken: token(alice) });
    socket.connect();
    const joined = new Promise((resolve, reject) => socket.channel(`user:${alice}`).join().receive("ok", resolve).receive("error", reject));
    assert.equal((await joined).user_id, alice);
    await new Promise((resolve) => socket.disconnect(resolve));
    balancers.forEach((balancer) => balancer.stop());
  });
});
