// The socket itself: the upgrade, frames, heartbeats, tokens that run out, the older serializer.

import assert from "node:assert/strict";

import { TAKES_AUTH_TOKEN } from "../phoenix.mjs";
import { Raw } from "../client.mjs";
import { fields, recent, refused, sent, time } from "../shapes.mjs";
import { http, suite, token, walk } from "../support.mjs";
import { holds, until } from "../wait.mjs";

/** The refused upgrade's `{status, body}`. */
async function upgradeRefused(scene, options) {
  const raw = new Raw(scene.gateway(), options);
  try {
    await raw.opened;
  } catch (error) {
    return error;
  } finally {
    await raw.close();
  }
  throw new Error(`the upgrade was accepted: ${JSON.stringify(options)}`);
}

suite("the upgrade", () => {
  walk("a missing or bad token is refused with 403 and no detail, before the upgrade", async (scene) => {
    const alice = scene.user("alice");
    for (const bad of [
      undefined, "", "junk", token(alice, { key: "another secret" }), token(alice, { ttl: -60 }),
      token(alice, { claims: { exp: undefined } }), token(alice, { header: { alg: "none" } }), token(alice, { header: { alg: "HS384" } }),
      `${token(alice).split(".").slice(0, 2).join(".")}.`, token("no spaces"), token("__proto__"), token("toString"),
      token(undefined, { service: true }),
    ]) {
      const { status, body } = await upgradeRefused(scene, { token: bad });
      assert.deepEqual([status, body], [403, ""], String(bad));
    }
  });

  walk("a serializer nobody speaks is refused, none means the older one", async (scene) => {
    const good = token(scene.user("alice"));
    for (const vsn of ["3.0.0", "2.1.0", "2", "abc", ""]) {
      assert.equal((await upgradeRefused(scene, { token: good, vsn })).status, 403, vsn);
    }
    for (const vsn of ["2.0.7", "1.0.3", undefined]) {
      const raw = new Raw(scene.gateway(), { token: good, vsn: vsn ?? null });
      await raw.opened;
      await raw.close();
    }
  });

  walk("the token may come by query, by header, or by phoenix.js' authToken", async (scene) => {
    const alice = scene.user("alice");
    const byHeader = new Raw(scene.gateway(), { headers: { authorization: `Bearer ${token(alice)}` } });
    await byHeader.opened;
    assert.equal(byHeader.socket.protocol, "", "no subprotocol was offered, none is named");
    assert.equal((await byHeader.ask("1", "1", `user:${alice}`, "phx_join", {}))[4].status, "ok");
    await byHeader.close();

    if (TAKES_AUTH_TOKEN) {
      const client = await scene.client(alice, { authToken: true });
      assert.equal(client.socket.conn.protocol, "phoenix");
      assert.equal((await client.joinOwn()).reply.user_id, alice);
    }

    // A user's token that carries the service scope still opens that user's socket.
    const both = await scene.raw(alice, { token: token(alice, { service: true }) });
    assert.equal((await both.ask("1", "1", `user:${alice}`, "phx_join", {}))[4].status, "ok");
  }, { webSocket: true });

  walk("health and readiness are told on the public listener", async (scene) => {
    for (const gateway of scene.gateways) {
      assert.equal((await http(gateway, "GET", "/healthz")).status, 200);
      assert.equal((await http(gateway, "GET", "/readyz")).status, 200);
    }
  });
});

suite("frames", () => {
  walk("a frame that is not a message closes the socket with 1007", async (scene) => {
    const alice = scene.user("alice");
    const junk = [
      "{", "ping", "", "{}", "\"str\"", "null", "5", "[]", "[null,\"1\",\"phoenix\",\"heartbeat\"]",
      "[null,\"1\",\"phoenix\",\"heartbeat\",{}] trailing",
      "{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":\"1\"}", Buffer.from([0xff, 0xfe, 0x5b]),
    ];
    // One after the other: a user may have only so many sockets.
    for (const frame of junk) {
      const raw = await scene.raw(alice);
      raw.send(frame);
      const { code, reason } = await raw.ended();
      assert.equal(code, 1007, String(frame));
      if (!Buffer.isBuffer(frame)) assert.equal(reason, "invalid_frame", String(frame));
    }
    const old = await scene.raw(alice, { vsn: "1.0.0" });
    old.send("{\"topic\":\"phoenix\",\"event\":\"heartbeat\"}");
    assert.equal((await old.ended()).code, 1007);
  });

  walk("a frame that is too big closes the socket with 1009", async (scene) => {
    const raw = await scene.raw(scene.user("alice"));
    raw.send([null, "1", "phoenix", "heartbeat", { pad: "x".repeat(129 * 1024) }]);
    assert.equal((await raw.ended()).code, 1009);
  });

  walk("replies and broadcasts look as Phoenix' own do", async (scene) => {
    const alice = scene.user("alice");
    const id = await scene.group([alice]);
    const topic = `conversation:${id}`;
    const raw = await scene.raw(alice);
    assert.deepEqual(await raw.ask(null, "7", "phoenix", "heartbeat", {}), [null, "7", "phoenix", "phx_reply", { status: "ok", response: {} }]);
    assert.deepEqual((await raw.ask("3", 9, "phoenix", "heartbeat", {}))[1], 9, "a ref comes back with its type");

    const joined = await raw.ask("1", "1", topic, "phx_join", {});
    assert.deepEqual(joined.slice(0, 4), ["1", "1", topic, "phx_reply"]);
    assert.deepEqual(Object.keys(joined[4]).sort(), ["response", "status"]);
    const state = await raw.frame((frame) => frame[3] === "presence_state");
    assert.deepEqual(state.slice(0, 3), ["1", null, topic], "a push to one client carries its join_ref");

    // A null or stale join_ref is handled; the reply carries the current one.
    for (const [join_ref, ref] of [[null, "a"], ["99", "b"], ["1", "c"]]) {
      const reply = await raw.ask(join_ref, ref, topic, "send_message", { message_type: "text", content: ref, client_random: ref });
      assert.deepEqual([reply[0], reply[4].status], ["1", "ok"]);
    }
    const broadcast = await raw.frame((frame) => frame[3] === "new_message");
    assert.deepEqual(broadcast.slice(0, 4), [null, null, topic, "new_message"]);

    // A stale leave is ignored; a second join replaces the first.
    raw.send(["98", "d", topic, "phx_leave", {}]);
    raw.send([null, "e", topic, "phx_leave", {}]);
    assert.equal((await raw.ask("5", "5", topic, "phx_join", {}))[4].status, "ok");
    assert.deepEqual(await raw.frame((frame) => frame[3] === "phx_close"), ["1", "1", topic, "phx_close", {}]);
    assert.equal((await raw.ask("5", "f", topic, "typing_stop", {}))[4].status, "ok");
    assert.deepEqual(raw.frames.filter((frame) => ["d", "e"].includes(frame[1])), []);
    for (const frame of raw.frames) {
      assert.ok(frame.length === 5 && frame[4] !== null && typeof frame[4] === "object", JSON.stringify(frame));
      assert.equal("response" in frame[4], frame[3] === "phx_reply", "only replies carry `response`");
    }
  });

  walk("leaving a topic that is not joined is ok", async (scene) => {
    const raw = await scene.raw(scene.user("alice"));
    const topic = "conversation:00000000-0000-4000-8000-000000000000";
    assert.deepEqual(await raw.ask("1", "7", topic, "phx_leave", {}), ["1", "7", topic, "phx_reply", { status: "ok", response: {} }]);
  });

  walk("a client's close is answered with its own code", async (scene) => {
    for (const code of [1000, 1001, 4999]) {
      const raw = await scene.raw(scene.user("alice"));
      raw.socket.close(code, "bye");
      assert.equal((await raw.ended()).code, code);
    }
  });

  walk("ping tells the server's time, heartbeats keep the socket alive", async (scene) => {
    const alice = scene.user("alice");
    const client = await scene.client(alice, { heartbeatIntervalMs: 300 });
    const own = await client.joinOwn();
    fields(await own.push("ping", { timestamp: 123 }), { pong: 123, server_time: recent });
    fields(await own.push("ping", {}), { pong: null, server_time: recent });
    // phoenix.js closes a socket whose heartbeat went unanswered when the next is due.
    await holds(() => client.socket.isConnected() && client.closes.length === 0, 2000, "the socket to stay");
  });

  walk("a client of the older serializer and one of the newer understand each other", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const old = await scene.client(alice, { vsn: 1 });
    const own = await old.joinOwn();
    assert.equal(own.reply.user_id, alice);
    const [a, b] = [await old.join(`conversation:${id}`), await (await scene.client(bob)).join(`conversation:${id}`)];
    sent(await a.send("from the past"), { sender_id: alice, seq: 1 });
    await b.first("new_message");
    await b.send("from the present");
    await a.first("new_message", ({ content }) => content === "from the present");
    refused(await a.refusal("x_unknown"), "unknown_event");
    await a.leave();

    const raw = await scene.raw(bob, { vsn: "1.0.0" });
    raw.send({ topic: "phoenix", event: "heartbeat", payload: {}, ref: "1" });
    assert.deepEqual(await raw.frame(({ ref }) => ref === "1"), {
      topic: "phoenix", event: "phx_reply", ref: "1", payload: { status: "ok", response: {} },
    });
    raw.send({ topic: `conversation:${id}`, event: "phx_join", payload: {}, ref: "2" });
    await raw.frame(({ ref }) => ref === "2");
    await b.send("to all");
    const seen = await raw.frame(({ event }) => event === "new_message");
    assert.deepEqual(Object.keys(seen).sort(), ["event", "payload", "ref", "topic"]);
    assert.equal(seen.ref, null);
    // phoenix.js takes no other serializer than its own by long poll.
  }, { webSocket: true });
});

suite("tokens that run out", () => {
  walk("a socket is closed with 4001 when its token and the leeway are over", async (scene) => {
    const alice = scene.user("alice");
    // Over for 6 s already, so 4 of the 10 s of leeway are left.
    const raw = await scene.raw(alice, { token: token(alice, { ttl: -6 }) });
    const opened = performance.now();
    assert.equal((await raw.ask("1", "1", `user:${alice}`, "phx_join", {}))[4].status, "ok");
    assert.deepEqual(await raw.ended(), { code: 4001, reason: "token_expired" });
    const took = performance.now() - opened;
    assert.ok(took > 2500 && took < 6000, `closed after ${took} ms`);
  });

  walk("the user's topic is told a minute before, or at the join when less is left", async (scene) => {
    const alice = scene.user("alice");
    for (const ttl of [63, 30]) {
      const client = await scene.client(alice, { token: () => token(alice, { ttl }) });
      const own = await client.joinOwn();
      const { expires_at } = await own.first("token_expiring", undefined, { timeout: 6000 });
      time(expires_at);
      assert.ok(Math.abs(Date.parse(expires_at) - Date.now() - ttl * 1000) < 5000, expires_at);
      assert.deepEqual(own.all("token_expiring").map((told) => Object.keys(told)), [["expires_at"]]);
    }
  });

  walk("access_token renews a socket, its channels untouched", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const began = performance.now();
    const client = await scene.client(alice, { token: () => token(alice, { ttl: -6 }) });
    const own = await client.joinOwn();
    const there = await client.join(`conversation:${id}`);
    refused(await own.refusal("access_token", { access_token: token(bob) }), "unauthorized");
    refused(await own.refusal("access_token", { access_token: "junk" }), "unauthorized");
    refused(await own.refusal("access_token", {}), "validation_failed", ["errors"]);
    const { expires_at, ...rest } = await own.push("access_token", { access_token: token(alice, { ttl: 600 }) });
    assert.deepEqual(rest, {});
    time(expires_at);
    assert.ok(Math.abs(Date.parse(expires_at) - Date.now() - 600_000) < 5000, expires_at);
    await until(() => performance.now() - began > 7000);
    assert.deepEqual(client.closes, []);
    await there.send("still here");
  });
});
