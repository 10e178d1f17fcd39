// Why did somebody not get a message: what services are told of each socket.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";

import { fields, httpRefused, recent, text, uuid } from "../shapes.mjs";
import { suite, walk } from "../support.mjs";
import { until } from "../wait.mjs";

const path = (id, message_id, user) => `/api/v1/conversations/${id}/messages/${message_id}/delivery?user_id=${user}`;

const flag = (value) => assert.equal(typeof value, "boolean");

/** What became of a message on its way to a user; its shape is checked. */
async function delivery(scene, id, { message_id, seq }, user) {
  const { status, body } = await scene.service("GET", path(id, message_id, user));
  assert.equal(status, 200, JSON.stringify(body));
  fields(body, {
    conversation_id: id, message_id, user_id: user,
    stored: (stored) => fields(stored, { at: recent, seq }), deleted: flag, hidden: flag,
    member: (member) => fields(member, { then: () => {}, now: () => {} }),
    last_read_seq: () => {}, last_delivered_seq: () => {}, verdict: text, reason: text,
    sockets: (sockets) => sockets.forEach((socket) => fields(socket, {
      gateway: text, session_id: (id) => id === null || uuid(id), transport: () => {}, last_seq: () => {}, unsent_bytes: () => {},
      verdict: text, reason: text,
    })),
    gateways: (gateways) => gateways.forEach((gateway) => fields(gateway, { id: text, state: text })),
    partial: flag,
  });
  return body;
}

/** The same once it is so. */
async function until_it_is(verdict, reason, ...of) {
  let found;
  await until(async () => {
    found = await delivery(...of);
    return found.verdict === verdict && found.reason === reason;
  }, { timeout: 20_000, what: () => `${verdict}, ${reason}, not ${JSON.stringify(found)}` });
  return found;
}

const of = ({ verdict, reason }) => [verdict, reason];

suite("what became of a message", () => {
  walk("it was delivered to the socket that has joined, and not to the one that has not", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const one = await scene.client(bob, { gateway: scene.gateway(0) });
    const session = (await one.joinOwn()).reply.session_id;
    const there = await one.join(`conversation:${id}`);
    const other = (await (await scene.client(bob, { gateway: scene.gateway(1) })).joinOwn()).reply.session_id;
    const [a] = await scene.joined([alice], id);
    const sent = await a.send("hello");
    await there.first("new_message");

    const found = await until_it_is("delivered", "sent", scene, id, sent, bob);
    assert.deepEqual([found.member, found.last_read_seq, found.partial], [{ then: true, now: true }, 0, false]);
    const socket = (session_id) => found.sockets.find((socket) => socket.session_id === session_id);
    assert.deepEqual([...of(socket(session)), socket(session).last_seq, socket(session).unsent_bytes], ["delivered", "sent", sent.seq, 0]);
    assert.deepEqual([...of(socket(other)), socket(other).last_seq], ["behind", "not_joined", null]);
    assert.equal(found.sockets.length, 2);
    assert.ok(found.gateways.every(({ state }) => state === "answered"));
    const holders = new Set(found.sockets.map(({ gateway }) => gateway));
    assert.deepEqual(new Set(found.gateways.map(({ id }) => id)), holders);

    // Who joins later has it from the reply, or from history.
    const late = await scene.client(alice);
    await late.join(`conversation:${id}`);
    const sender = await until_it_is("delivered", "sent", scene, id, sent, alice);
    assert.deepEqual(sender.sockets.map(of).sort(), [["delivered", "before_join"], ["delivered", "sent"]]);
    // Who sends has read; it is written soon after.
    await until(async () => (await delivery(scene, id, sent, alice)).last_read_seq === sent.seq, { what: "the sender to have read" });
  });

  walk("with two gateways the user's sockets on both are found", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    for (const gateway of scene.gateways) {
      const raw = await scene.raw(bob, { gateway });
      await raw.ask("1", "1", `conversation:${id}`, "phx_join", {});
    }
    // On no topic at all, and in nobody's presence.
    await scene.raw(bob, { gateway: scene.gateway(0) });
    const [a] = await scene.joined([alice], id);
    const sent = await a.send("hello");
    const { length } = scene.gateways;
    await until(async () => {
      const { sockets } = await delivery(scene, id, sent, bob);
      return sockets.filter(({ reason }) => reason === "sent").length === length;
    }, { what: "all channels to have it" });
    const { sockets, gateways } = await delivery(scene, id, sent, bob);
    assert.deepEqual([sockets.length, gateways.length], [length + 1, length]);
    assert.deepEqual(sockets.filter(({ reason }) => reason !== "sent").map(of), [["behind", "not_joined"]]);
    assert.ok(sockets.every(({ transport }) => transport === "websocket"));
  });

  walk("a reader that stalls is behind, with the last message that it was sent, until it reads on", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const raw = await scene.raw(bob);
    await raw.ask("1", "1", `conversation:${id}`, "phx_join", {});
    raw.socket._socket.pause();
    const content = "x".repeat(30_000);
    const post = async () => {
      const body = { message_type: "text", content, client_random: randomUUID(), sender_id: alice };
      const { status, body: sent } = await scene.service("POST", `/api/v1/conversations/${id}/messages`, body);
      assert.equal(status, 201, JSON.stringify(sent));
      return sent;
    };
    // What the kernels hold between the two has to be full first.
    let found;
    let last;
    await until(async () => {
      const posted = await Promise.all(Array.from({ length: 20 }, post));
      last = posted.reduce((one, other) => (other.seq > one.seq ? other : one));
      found = await delivery(scene, id, last, bob);
      // A mailbox that is full for a moment is emptied as long as they take something.
      await setTimeout(300);
      const again = await delivery(scene, id, last, bob);
      const stands = again.sockets[0].last_seq === found.sockets[0].last_seq;
      return found.reason === "mailbox_full" && stands;
    }, { timeout: 25_000, what: () => `a full mailbox, not ${JSON.stringify(found)}` });
    const [socket] = found.sockets;
    assert.deepEqual([found.verdict, ...of(socket)], ["behind", "behind", "mailbox_full"]);
    assert.ok(socket.unsent_bytes > 0 && socket.last_seq > 0 && socket.last_seq < last.seq, JSON.stringify(socket));
    const stalled = await delivery(scene, id, last, bob);
    assert.equal(stalled.sockets[0].last_seq, socket.last_seq, "nothing moves");

    raw.socket._socket.resume();
    await until_it_is("delivered", "sent", scene, id, last, bob);
    const heard = () => raw.frames.filter((frame) => frame[3] === "new_message").map((frame) => frame[4].seq);
    await until(() => heard().length === last.seq, { timeout: 20_000, what: () => `${last.seq} messages, not ${heard().length}` });
  }, { timeout: 90_000, webSocket: true });

  walk("who is no member, was removed, or is not connected does not get it, and that is why", async (scene) => {
    const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => scene.user(name));
    const id = await scene.group([alice, bob]);
    const [a] = await scene.joined([alice], id);
    const sent = await a.send("hello");
    const away = await delivery(scene, id, sent, bob);
    assert.deepEqual([...of(away), away.sockets, away.gateways], ["behind", "no_socket", [], []]);

    await (await scene.client(carol)).joinOwn();
    const stranger = await delivery(scene, id, sent, carol);
    assert.deepEqual([stranger.member, stranger.last_read_seq], [{ then: false, now: false }, null]);
    assert.deepEqual([...of(stranger), ...stranger.sockets.map(of)], ["behind", "not_a_member", ["behind", "not_joined"]]);

    const reader = await (await scene.client(bob)).join(`conversation:${id}`);
    await reader.push("mark_as_read", { message_id: sent.message_id });
    assert.equal((await delivery(scene, id, sent, bob)).last_read_seq, sent.seq);
    await reader.leave();
    assert.deepEqual(of(await delivery(scene, id, sent, bob)), ["delivered", "read"]);

    const removed = await scene.as(alice, "DELETE", `/api/v1/conversations/${id}/members/${bob}`);
    assert.equal(removed.status, 204);
    const gone = await delivery(scene, id, sent, bob);
    assert.deepEqual([gone.member, ...of(gone)], [{ then: true, now: false }, "behind", "not_a_member"]);
  });

  walk("what a client said that it got is delivered, and what is deleted or hidden is told so", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a] = await scene.joined([alice], id);
    const sent = await a.send("hello");
    const b = await (await scene.client(bob)).join(`conversation:${id}`);
    await b.push("mark_as_delivered", { message_id: sent.message_id });
    await b.push("delete_message", { message_id: sent.message_id, for_everyone: false });
    await b.leave();
    const told = (found) => [...of(found), found.last_read_seq, found.last_delivered_seq, found.deleted, found.hidden];
    assert.deepEqual(told(await delivery(scene, id, sent, bob)), ["delivered", "received", 0, sent.seq, false, true]);
    assert.equal((await delivery(scene, id, sent, alice)).hidden, false, "that is bob's alone");
    await a.push("delete_message", { message_id: sent.message_id, for_everyone: true });
    const gone = await delivery(scene, id, sent, bob);
    assert.deepEqual(told(gone), ["delivered", "received", 0, sent.seq, true, true]);
    assert.ok(!JSON.stringify(gone).includes("hello"));
  });

  walk("only services ask, for messages that are there and users that may be", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a] = await scene.joined([alice], id);
    const { message_id } = await a.send("hello");
    for (const user of [alice, bob]) httpRefused(await scene.as(user, "GET", path(id, message_id, user)), 403, "forbidden");
    const other = await scene.group([alice, bob]);
    for (const target of [path(other, message_id, bob), path(randomUUID(), message_id, bob)]) {
      httpRefused(await scene.service("GET", target), 404, "not_found");
    }
    for (const target of [path(id, message_id, "a%20b"), path(id, message_id, ""), path(id, message_id, bob).replace(/\?.*/, ""), path(id, randomUUID(), bob), path("_", message_id, bob)]) {
      httpRefused(await scene.service("GET", target), 400, "validation_failed", ["errors"]);
    }
  });
});
