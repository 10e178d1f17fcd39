// Bad input: refused with its reason, the socket stays open, nothing is stored and nothing is broadcast.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { httpRefused, invalid, message, refused } from "../shapes.mjs";
import { http, suite, token, walk } from "../support.mjs";

const good = () => ({ message_type: "text", content: "good", client_random: randomUUID() });

suite("refusals", () => {
  walk("another's topic is unauthorized, a topic nobody routes is unmatched", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const raw = await scene.raw(alice);
    const [join_ref, ref, topic, event, payload] = await raw.ask("1", "1", `user:${bob}`, "phx_join", {});
    assert.deepEqual([join_ref, ref, topic, event, payload.status], ["1", "1", `user:${bob}`, "phx_reply", "error"]);
    refused(payload.response, "unauthorized");
    assert.deepEqual(Object.keys(payload).sort(), ["response", "status"]);

    let n = 1;
    for (const unknown of ["nope:1", "user", "", "conversation", "conversation:", "user:", "phoenix", "conversation:a b", "conversation:constructor"]) {
      const frame = await raw.ask("9", String((n += 1)), unknown, "phx_join", {});
      assert.equal(frame[4].status, "error", unknown);
      assert.ok(["unmatched topic", "validation_failed", "not_a_member"].includes(frame[4].response.reason), JSON.stringify(frame));
      if (!unknown.startsWith("conversation:") && !unknown.startsWith("user:")) {
        refused(frame[4].response, "unmatched topic");
        assert.equal(frame[0], null, "as Phoenix answers it");
      }
    }
    const push = await raw.ask("1", String((n += 1)), `user:${bob}`, "ping", {});
    assert.equal(push[0], null);
    refused(push[4].response, "unmatched topic");
    assert.equal((await raw.ask(null, "hb", "phoenix", "heartbeat", {}))[4].status, "ok");
  });

  walk("a join whose params are no object is refused", async (scene) => {
    const raw = await scene.raw(scene.user("alice"));
    for (const [n, params] of [["a", []], ["b", "x"], ["c", 5], ["d", null]]) {
      const frame = await raw.ask(n, n, `conversation:${randomUUID()}`, "phx_join", params);
      refused(frame[4].response, "validation_failed", ["errors"]);
    }
  });

  walk("an event nobody knows gets an error reply, not a crash", async (scene) => {
    const alice = scene.user("alice");
    const id = await scene.group([alice]);
    const client = await scene.client(alice);
    const [own, there] = [await client.joinOwn(), await client.join(`conversation:${id}`)];
    for (const [joined, event] of [
      [own, "send_message"], [own, "x_unknown"], [there, "ping"], [there, "update_presence"], [there, "new_message"],
      [there, "presence_diff"], [there, ""], [there, "SEND_MESSAGE"],
    ]) {
      refused(await joined.refusal(event, {}), "unknown_event");
    }
    await there.send("still here");
    assert.deepEqual(there.all("phx_error"), []);
    assert.deepEqual(client.closes, []);
  });

  walk("a message that breaks a rule is not stored, and nobody sees it", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a, b] = await scene.joined([alice, bob], id);
    const cases = [
      ["message_type", undefined, null, 5, "", "Text", "no spaces", "x".repeat(33), "é"],
      ["content", undefined, null, 5, {}, ["x"]],
      ["client_random", undefined, null, -1, 1.5, 2 ** 53 + 2, "", "r".repeat(65), true, {}, [1]],
      ["metadata", "x", 5, [], true],
      ["reply_to_id", 5, "not-an-id", {}],
    ];
    for (const [field, ...values] of cases) {
      for (const value of values) {
        const payload = { ...good(), [field]: value };
        invalid(await a.refusal("send_message", payload), field);
        const posted = await scene.as(alice, "POST", `/api/v1/conversations/${id}/messages`, payload);
        httpRefused(posted, 400, "validation_failed", ["errors"]);
      }
    }
    const system = await a.refusal("send_message", { ...good(), message_type: "system" });
    assert.ok(["forbidden", "validation_failed"].includes(system.reason), JSON.stringify(system));
    for (const [event, field, ...values] of [
      ["mark_as_read", "message_id", undefined, null, 5, {}],
      ["add_reaction", "message_id", undefined, null, 5],
      ["remove_reaction", "message_id", undefined, null, 5],
    ]) {
      for (const value of values) invalid(await a.refusal(event, { reaction: "x", [field]: value }), field);
    }
    const fence = await a.send("fence");
    assert.equal(fence.seq, 1, "nothing was stored before");
    message(await b.first("new_message"), { content: "fence", seq: 1 });
  });

  walk("a push whose payload is no object is refused, and the channel lives on", async (scene) => {
    const alice = scene.user("alice");
    const id = await scene.group([alice]);
    const raw = await scene.raw(alice);
    const topic = `conversation:${id}`;
    assert.equal((await raw.ask("1", "1", topic, "phx_join", {}))[4].status, "ok");
    for (const [n, payload] of [["2", []], ["3", "x"], ["4", 5], ["5", null], ["6", true]]) {
      refused((await raw.ask("1", n, topic, "send_message", payload))[4].response, "validation_failed", ["errors"]);
      refused((await raw.ask("1", `t${n}`, topic, "typing_start", payload))[4].response, "validation_failed", ["errors"]);
    }
    assert.equal((await raw.ask("1", "9", topic, "send_message", good()))[4].response.seq, 1);
  });

  walk("the largest values of each rule are taken", async (scene) => {
    const alice = scene.user("alice");
    const [a] = await scene.joined([alice], await scene.group([alice]));
    for (const more of [
      { message_type: "x".repeat(32) }, { message_type: "poll_2" }, { client_random: 0 }, { client_random: 2 ** 53 },
      { client_random: "é".repeat(64) }, { content: "" }, { content: "x".repeat(32 * 1024) }, { metadata: { pad: "x".repeat(8000) } },
    ]) {
      const reply = await a.push("send_message", { ...good(), ...more });
      for (const [key, value] of Object.entries(more)) assert.deepEqual(reply.message[key], value);
    }
  });

  walk("what is too large is refused with the bytes allowed, in bytes and not characters", async (scene) => {
    const alice = scene.user("alice");
    const id = await scene.group([alice]);
    const [a] = await scene.joined([alice], id);
    for (const content of ["x".repeat(32 * 1024 + 1), "é".repeat(16 * 1024 + 1)]) {
      const refusal = await a.refusal("send_message", { ...good(), content });
      refused(refusal, "message_too_large", ["max_bytes"]);
      assert.equal(refusal.max_bytes, 32 * 1024);
      const posted = await scene.as(alice, "POST", `/api/v1/conversations/${id}/messages`, { ...good(), content });
      httpRefused(posted, 413, "message_too_large", ["max_bytes"]);
    }
    const metadata = await a.refusal("send_message", { ...good(), metadata: { pad: "x".repeat(8 * 1024) } });
    refused(metadata, "message_too_large", ["max_bytes"]);
    assert.equal(metadata.max_bytes, 8 * 1024);
    assert.equal((await a.send("still open")).seq, 1);
  });

  walk("an HTTP call needs a good token, a known path, and its method", async (scene) => {
    const alice = scene.user("alice");
    const path = "/api/v1/conversations";
    for (const bearer of [
      undefined, "junk", token(alice, { ttl: -60 }), token(alice, { key: "another secret" }),
      token("", {}), token("no spaces"), token("constructor"), token(alice, { claims: { exp: undefined } }),
      token(alice, { header: { alg: "none" } }), token(alice, { header: { alg: "HS512" } }),
    ]) {
      httpRefused(await http(scene.gateway(), "GET", path, { token: bearer }), 401, "unauthorized");
    }
    const unknown = await scene.as(alice, "GET", "/api/v1/nothing");
    httpRefused(unknown, 404, "not_found");
    assert.ok([404, 405].includes((await scene.as(alice, "DELETE", path)).status));
    assert.equal((await scene.as(alice, "GET", "/api/v1/conversations/no%20id")).status, 400);
    for (const bad of ["bo%20b", "-bob", "constructor", "b".repeat(65)]) {
      httpRefused(await scene.as(alice, "PUT", `/api/v1/contacts/${bad}`), 400, "validation_failed", ["errors"]);
    }
    httpRefused(await scene.service("GET", "/api/v1/contacts"), 400, "validation_failed", ["errors"]);
    // A user may not act for another by a service's parameter.
    const other = scene.user("bob");
    const mine = await scene.as(alice, "PUT", `/api/v1/contacts/${scene.user("carol")}?user_id=${other}`);
    assert.deepEqual((await scene.as(other, "GET", "/api/v1/contacts")).body, { contacts: [] }, `${mine.status}`);
  });
});
