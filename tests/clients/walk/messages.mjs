// Messages: sent, seen by all in one order, repeated safely, resumed.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { conversationJoin, fields, message, recent, refused, sent, text, uuid } from "../shapes.mjs";
import { suite, walk } from "../support.mjs";
import { until } from "../wait.mjs";

suite("messages", () => {
  walk("a join of one's own topic answers who one is, then who is there and what is unread", async (scene) => {
    const alice = scene.user("alice");
    const client = await scene.client(alice);
    const own = await client.join(`user:${alice}`);
    fields(own.reply, { user_id: alice, status: "online", session_id: text });
    fields(await own.first("sync_complete"), { user_id: alice, unread: [], at: recent });
    assert.deepEqual(await own.first("presence_state"), {});
    assert.deepEqual(own.log.map((entry) => entry.event), ["presence_state", "sync_complete"], "in this order");
  });

  walk("a join of a conversation answers the conversation and its tail, then who is in it", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob], { title: "walk" });
    const [a, b] = await scene.joined([alice, bob], id);
    for (const joined of [a, b]) {
      conversationJoin(joined.reply, {
        conversation_id: id, last_seq: 0, last_read_seq: 0, messages: [], truncated: false, changes: [],
      });
      assert.deepEqual(joined.reply.conversation.metadata, { title: "walk" });
      assert.deepEqual([...joined.reply.conversation.member_ids].sort(), [alice, bob].sort());
      assert.equal(joined.reply.conversation.created_by, alice);
      assert.equal(joined.reply.conversation.type, "group");
    }
    assert.ok(alice in (await a.first("presence_state")), "the joiner is included");
  });

  walk("a message is acknowledged, and reaches the conversation and every member's own topic", async (scene) => {
    const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => scene.user(name));
    const id = await scene.group([alice, bob, carol]);
    const [a, b] = await scene.joined([alice, bob], id);
    const owns = [];
    for (const user of [alice, bob, carol]) owns.push(await (await scene.client(user)).joinOwn());

    const reply = await a.push("send_message", {
      message_type: "text", content: "héllo / \"q\" <b> \u2028 👍", metadata: { z: 1, a: [1, 2.5, null, true] }, client_random: 42,
    });
    const want = {
      conversation_id: id, sender_id: alice, message_type: "text", content: "héllo / \"q\" <b> \u2028 👍",
      metadata: { z: 1, a: [1, 2.5, null, true] }, client_random: 42, reply_to_id: null, seq: 1,
    };
    const stored = sent(reply, want);
    for (const joined of [a, b, ...owns]) {
      message(await joined.first("new_message"), { ...want, id: stored.id, sent_at: stored.sent_at });
    }

    const second = await b.push("send_message", {
      message_type: "media", content: "x", client_random: "r-1", reply_to_id: stored.id, unknown: "field",
    });
    sent(second, { seq: 2, sender_id: bob, message_type: "media", client_random: "r-1", reply_to_id: stored.id, metadata: {} });
    for (const joined of [a, b, ...owns]) {
      await joined.first("new_message", ({ seq }) => seq === 2);
      assert.deepEqual(joined.all("new_message").map(({ seq }) => seq), [1, 2], joined.topic);
    }
  });

  walk("a repeat with the same client_random stores nothing and is not broadcast", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a, b] = await scene.joined([alice, bob], id);
    const ownB = await (await scene.client(bob)).joinOwn();
    const payload = { message_type: "text", content: "once", client_random: 7 };
    const first = await a.push("send_message", payload);
    sent(first, { seq: 1, client_random: 7 });

    const again = await a.push("send_message", payload);
    sent(again, { seq: 1, content: "once" }, { duplicate: true });
    assert.equal(again.message_id, first.message_id);
    assert.equal(again.sent_at, first.sent_at);

    // From another device, on another gateway, too.
    const elsewhere = await (await scene.client(alice)).join(`conversation:${id}`);
    assert.equal((await elsewhere.push("send_message", payload)).message_id, first.message_id);

    const other = await a.refusal("send_message", { ...payload, content: "twice" });
    refused(other, "conflict", ["message_id"]);
    assert.equal(other.message_id, first.message_id);
    refused(await a.refusal("send_message", { ...payload, message_type: "media" }), "conflict", ["message_id"]);

    // A number and a text are two names, and another sender's 7 is another's.
    sent(await a.push("send_message", { ...payload, client_random: "7" }), { seq: 2, client_random: "7" });
    sent(await b.push("send_message", payload), { seq: 3, sender_id: bob, client_random: 7 });
    for (const joined of [a, b, ownB]) {
      await joined.first("new_message", ({ seq }) => seq === 3);
      assert.deepEqual(joined.all("new_message").map(({ seq }) => seq), [1, 2, 3], joined.topic);
    }
  });

  walk("two at once with one client_random give one message", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [one, two, b] = await scene.joined([alice, alice, bob], id);
    for (let round = 1; round <= 5; round += 1) {
      const payload = { message_type: "text", content: `round ${round}`, client_random: `r${round}` };
      const replies = await Promise.all([one, two, one].map((joined) => joined.push("send_message", payload)));
      assert.deepEqual(replies.map(({ message_id }) => message_id), Array(3).fill(replies[0].message_id));
      assert.deepEqual(replies.map(({ seq }) => seq), [round, round, round]);
    }
    await b.first("new_message", ({ seq }) => seq === 5);
    assert.deepEqual(b.all("new_message").map(({ seq }) => seq), [1, 2, 3, 4, 5]);
  });

  walk("everyone sees one order under twenty concurrent sends from all gateways", async (scene) => {
    const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => scene.user(name));
    const id = await scene.group([alice, bob, carol]);
    const [a, b, c] = await scene.joined([alice, bob, carol], id);
    const sends = Array.from({ length: 20 }, (_, n) => [a, b][n % 2].send(`m${n}`));
    const replies = await Promise.all(sends);
    assert.deepEqual(replies.map(({ seq }) => seq).sort((x, y) => x - y), Array.from({ length: 20 }, (_, n) => n + 1));

    const orders = [];
    for (const joined of [a, b, c]) {
      await until(() => joined.all("new_message").length >= 20, { what: () => `20 messages, not ${joined.all("new_message").length}` });
      const seen = joined.all("new_message");
      assert.deepEqual(seen.map(({ seq }) => seq), Array.from({ length: 20 }, (_, n) => n + 1));
      orders.push(seen.map(({ id: message_id, content }) => [message_id, content]));
    }
    assert.deepEqual(orders[0], orders[1]);
    assert.deepEqual(orders[0], orders[2]);
    for (const reply of replies) assert.equal(orders[0][reply.seq - 1][0], reply.message_id);
  });

  walk("a client that comes back elsewhere with last_seq and since gets what it missed", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const a = (await scene.joined([alice], id))[0];
    const away = await scene.client(bob, { gateway: scene.gateway(0) });
    const b = await away.join(`conversation:${id}`);
    const seen = await a.send("before");
    await b.first("new_message");
    const { change_cursor: since } = (await scene.as(bob, "GET", `/api/v1/conversations/${id}/messages`)).body;
    await away.close();

    for (const content of ["missed 1", "missed 2"]) await a.send(content);
    await a.push("add_reaction", { message_id: seen.message_id, reaction: "👍" });

    const back = await scene.client(bob, { gateway: scene.gateway(1) });
    const again = await back.join(`conversation:${id}`, () => ({ last_seq: 1, since }));
    conversationJoin(again.reply, { last_seq: 3, truncated: false });
    assert.deepEqual(again.reply.messages.map(({ seq, content }) => [seq, content]), [[2, "missed 1"], [3, "missed 2"]]);
    again.reply.messages.forEach((missed) => message(missed, { conversation_id: id, sender_id: alice, reactions: {} }));
    const change = again.reply.changes.find((entry) => (entry.id ?? entry.message_id) === seen.message_id);
    assert.deepEqual(change?.reactions, { "👍": [alice] }, JSON.stringify(again.reply.changes));
    assert.notEqual(again.reply.change_cursor, since);

    await a.send("live");
    await again.first("new_message", ({ seq }) => seq === 4);
    assert.deepEqual(again.all("new_message").map(({ seq }) => seq), [4], "broadcasts start after the reply's last_seq");
  });

  walk("a rejoin without last_seq brings no messages, and one at the tail brings none either", async (scene) => {
    const alice = scene.user("alice");
    const id = await scene.group([alice]);
    const [a] = await scene.joined([alice], id);
    await a.send("one");
    const client = await scene.client(alice);
    const plain = await client.join(`conversation:${id}`);
    conversationJoin(plain.reply, { last_seq: 1, last_read_seq: 1, messages: [], truncated: false });
    await plain.leave();
    conversationJoin((await client.join(`conversation:${id}`, { last_seq: 1 })).reply, { messages: [], truncated: false });
  });

  walk("phoenix.js rejoins by itself after a lost connection and loses nothing", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a] = await scene.joined([alice], id);
    const client = await scene.client(bob);
    const seen = [];
    const b = await client.join(`conversation:${id}`, () => ({ last_seq: seen.length }), (channel) => {
      channel.on("new_message", ({ seq }) => seen.push(seq));
      channel.joinPush.receive("ok", ({ messages }) => messages.forEach(({ seq }) => seen.push(seq)));
    });
    await a.send("1");
    await b.first("new_message");
    client.drop();
    for (const content of ["2", "3", "4"]) await a.send(content);
    await until(() => seen.length >= 4, { what: () => `four messages, not ${seen}` });
    await a.send("5");
    await until(() => seen.length >= 5, { what: () => `five messages, not ${seen}` });
    assert.deepEqual(seen, [1, 2, 3, 4, 5]);
    assert.equal(client.closes.length, 1);
  });

  walk("a push on a channel that was left is an unmatched topic, and a left channel hears nothing", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a] = await scene.joined([alice], id);
    const raw = await scene.raw(bob);
    const topic = `conversation:${id}`;
    const joined = await raw.ask("1", "1", topic, "phx_join", {});
    assert.equal(joined[4].status, "ok");
    const left = await raw.ask("1", "2", topic, "phx_leave", {});
    assert.deepEqual(left, ["1", "2", topic, "phx_reply", { status: "ok", response: {} }]);
    assert.deepEqual(await raw.frame((frame) => frame[3] === "phx_close"), ["1", "1", topic, "phx_close", {}]);
    const late = await raw.ask("1", "3", topic, "send_message", { message_type: "text", content: "x", client_random: 1 });
    assert.equal(late[0], null);
    assert.equal(late[4].status, "error");
    refused(late[4].response, "unmatched topic");
    await a.send("unheard");
    await a.first("new_message");
    assert.equal((await raw.ask(null, "4", "phoenix", "heartbeat", {}))[4].status, "ok");
    assert.deepEqual(raw.frames.filter((frame) => frame[3] === "new_message"), []);
  });

  walk("a service's message is the named sender's, and reaches everyone", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [, b] = await scene.joined([alice, bob], id);
    const path = `/api/v1/conversations/${id}/messages`;
    const body = { message_type: "system", content: "welcome", client_random: randomUUID(), sender_id: alice };
    const posted = await scene.service("POST", path, body);
    assert.equal(posted.status, 201, JSON.stringify(posted.body));
    const stored = sent(posted.body, { sender_id: alice, message_type: "system", content: "welcome", seq: 1 });
    message(await b.first("new_message"), { id: stored.id, sender_id: alice });
    const again = await scene.service("POST", path, body);
    assert.equal(again.status, 200);
    sent(again.body, { seq: 1 }, { duplicate: true });
    const byUser = await scene.as(bob, "POST", path, { message_type: "text", content: "by HTTP", client_random: 1 });
    assert.equal(byUser.status, 201);
    uuid(sent(byUser.body, { sender_id: bob, seq: 2 }).id);
  });
});
