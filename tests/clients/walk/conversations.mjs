// Conversations by HTTP: made, listed, changed, paged, and who may do what.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { conversation, fields, httpRefused, message, recent, refused } from "../shapes.mjs";
import { suite, walk } from "../support.mjs";
import { until } from "../wait.mjs";

const CONVERSATIONS = "/api/v1/conversations";

suite("making", () => {
  walk("a user who creates is a member, and every member's own topic hears of it", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const a = await (await scene.client(alice)).joinOwn();
    const b = await (await scene.client(bob)).joinOwn();
    const id = randomUUID();
    const body = { id, type: "group", member_ids: [bob], metadata: { title: "plans" } };
    const made = await scene.as(alice, "POST", CONVERSATIONS, body);
    assert.equal(made.status, 201, JSON.stringify(made.body));
    const want = { id, type: "group", metadata: { title: "plans" }, created_by: alice, member_ids: [alice, bob], last_seq: 0 };
    conversation(made.body, want);
    for (const own of [a, b]) {
      const update = await own.first("conversation_updated", ({ change }) => change === "created");
      assert.equal(update.conversation_id, id);
      recent(update.updated_at);
    }
    const again = await scene.as(alice, "POST", CONVERSATIONS, body);
    assert.equal(again.status, 200);
    conversation(again.body, want);
    conversation((await scene.as(bob, "GET", `${CONVERSATIONS}/${id}`)).body, want);
    httpRefused(await scene.as(alice, "POST", CONVERSATIONS, { ...body, member_ids: [bob, scene.user("carol")] }), 409, "conflict");
    // An id that is taken by others is no window into their conversation.
    httpRefused(await scene.as(scene.user("mallory"), "POST", CONVERSATIONS, body), 409, "conflict");
  });

  walk("an id is made where none is given, and a pair has one direct conversation", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const first = await scene.as(alice, "POST", CONVERSATIONS, { type: "direct", member_ids: [bob] });
    assert.equal(first.status, 201, JSON.stringify(first.body));
    conversation(first.body, { type: "direct", created_by: alice, member_ids: [alice, bob], metadata: {} });
    const other = await scene.as(bob, "POST", CONVERSATIONS, { type: "direct", member_ids: [alice] });
    assert.equal(other.status, 200, JSON.stringify(other.body));
    assert.equal(other.body.id, first.body.id);
    for (const path of [alice, bob]) {
      httpRefused(await scene.as(alice, "DELETE", `${CONVERSATIONS}/${first.body.id}/members/${path}`), 409, "conflict");
    }
    httpRefused(await scene.as(alice, "PUT", `${CONVERSATIONS}/${first.body.id}/members/${scene.user("carol")}`), 409, "conflict");
    const group = await scene.as(alice, "POST", CONVERSATIONS, { type: "group", member_ids: [] });
    assert.equal(group.status, 201);
    conversation(group.body, { type: "group", member_ids: [alice] });
  });

  walk("a service creates for others, under any id", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = `order:${scene.user("42")}`;
    const made = await scene.service("POST", CONVERSATIONS, { id, type: "group", member_ids: [alice, bob] });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    conversation(made.body, { id, member_ids: [alice, bob], metadata: {}, last_seq: 0 });
    conversation((await scene.service("GET", `${CONVERSATIONS}/${id}`)).body, { id });
    const a = await (await scene.client(alice)).join(`conversation:${id}`);
    assert.equal(a.reply.conversation_id, id);
  });

  walk("a conversation that breaks a rule is not made", async (scene) => {
    const alice = scene.user("alice");
    const bob = scene.user("bob");
    const good = { type: "group", member_ids: [bob] };
    for (const [bad, field] of [
      [{ ...good, type: "room" }, "type"],
      [{ member_ids: [bob] }, "type"],
      [{ ...good, member_ids: "bob" }, "member_ids"],
      [{ type: "group" }, "member_ids"],
      [{ ...good, member_ids: ["bo b"] }, "member_ids"],
      [{ ...good, member_ids: ["constructor"] }, "member_ids"],
      [{ ...good, member_ids: ["-bob"] }, "member_ids"],
      [{ ...good, member_ids: ["b".repeat(65)] }, "member_ids"],
      [{ ...good, id: "not-a-uuid" }, "id"],
      [{ ...good, id: 5 }, "id"],
      [{ ...good, metadata: [] }, "metadata"],
      [{ type: "direct", member_ids: [bob, scene.user("carol")] }, "member_ids"],
      [{ type: "direct", member_ids: [] }, "member_ids"],
      [{ ...good, member_ids: Array.from({ length: 1025 }, (_, n) => `u${n}`) }, "member_ids"],
    ]) {
      const answer = await scene.as(alice, "POST", CONVERSATIONS, bad);
      httpRefused(answer, 400, "validation_failed", ["errors"]);
      assert.ok(answer.body.error.errors[field], `${field} in ${JSON.stringify(answer.body)}`);
    }
    for (const body of ["{", "[]", "\"text\"", ""]) {
      const answer = await scene.as(alice, "POST", CONVERSATIONS, body);
      assert.equal(answer.status, 400, body);
      assert.equal(answer.body.error.reason, "validation_failed");
    }
    assert.equal((await scene.as(alice, "POST", CONVERSATIONS, { ...good, metadata: { big: "x".repeat(9000) } })).status, 413);
    assert.deepEqual((await scene.as(alice, "GET", CONVERSATIONS)).body.conversations, []);
  });
});

suite("reading and changing", () => {
  walk("the list shows the latest activity first, with what is unread, page by page", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const ids = [];
    for (let n = 0; n < 3; n += 1) ids.push(await scene.group([alice, bob], { n }));
    const [a] = await scene.joined([alice], ids[1]);
    const [quiet] = await scene.joined([alice], ids[0]);
    await quiet.send("older");
    await a.send("one");
    const last = await a.send("two");

    const list = (query = "") => scene.as(bob, "GET", `${CONVERSATIONS}${query}`).then(({ body }) => body);
    await until(async () => {
      const [first, second] = (await list()).conversations;
      return first.id === ids[1] && first.unread_count === 2 && second.id === ids[0];
    }, { timeout: 5000, what: "the list to follow" });

    const whole = await list();
    fields(whole, { conversations: () => {}, next_cursor: null });
    whole.conversations.forEach((entry) =>
      conversation(entry, { member_ids: [alice, bob] }, ["last_message", "last_read_seq", "unread_count", "settings"]));
    const [first, second, third] = whole.conversations;
    assert.deepEqual([first.last_seq, first.last_read_seq, first.unread_count], [2, 0, 2]);
    assert.deepEqual([second.last_seq, second.unread_count], [1, 1]);
    assert.deepEqual([third.id, third.last_message, third.unread_count], [ids[2], null, 0]);
    for (const [key, want] of Object.entries({ id: last.message_id, seq: 2, sender_id: alice, sent_at: last.sent_at })) {
      assert.deepEqual(first.last_message[key], want, `last_message.${key}`);
    }

    const one = await list("?limit=2");
    assert.deepEqual(one.conversations.map(({ id }) => id), [ids[1], ids[0]]);
    assert.ok(one.next_cursor);
    const two = await list(`?limit=2&cursor=${encodeURIComponent(one.next_cursor)}`);
    assert.deepEqual(two.conversations.map(({ id }) => id), [ids[2]]);
    assert.equal(two.next_cursor, null);
    const service = await scene.service("GET", `${CONVERSATIONS}?user_id=${bob}`);
    assert.deepEqual(service.body.conversations.map(({ id }) => id), whole.conversations.map(({ id }) => id));

    // What is unread shows at the next join of one's own topic, too.
    const own = await (await scene.client(bob)).joinOwn();
    const { unread } = await own.first("sync_complete");
    const mine = unread.find(({ conversation_id }) => conversation_id === ids[1]);
    assert.deepEqual(mine, { conversation_id: ids[1], unread_count: 2, last_seq: 2 });

    await own.push("mark_all_read", {});
    await until(async () => (await list()).conversations.every(({ unread_count }) => unread_count === 0), {
      timeout: 5000, what: "everything to be read",
    });
    for (const query of ["?limit=0", "?limit=x", "?cursor=junk"]) {
      httpRefused(await scene.as(bob, "GET", CONVERSATIONS + query), 400, "validation_failed", ["errors"]);
    }
  });

  walk("history pages both ways, in ascending seq", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a] = await scene.joined([alice], id);
    for (let n = 1; n <= 7; n += 1) await a.send(`m${n}`);
    const page = async (query) => {
      const { status, body } = await scene.as(bob, "GET", `${CONVERSATIONS}/${id}/messages${query}`);
      assert.equal(status, 200, JSON.stringify(body));
      fields(body, { messages: () => {}, has_more: () => {}, changes: [], change_cursor: () => {} });
      body.messages.forEach((found) => message(found, { conversation_id: id, content: `m${found.seq}`, reactions: {} }));
      return [body.messages.map(({ seq }) => seq), body.has_more];
    };
    assert.deepEqual(await page(""), [[1, 2, 3, 4, 5, 6, 7], false]);
    assert.deepEqual(await page("?limit=3"), [[5, 6, 7], true]);
    assert.deepEqual(await page("?before_seq=5&limit=3"), [[2, 3, 4], true]);
    assert.deepEqual(await page("?before_seq=2&limit=3"), [[1], false]);
    assert.deepEqual(await page("?after_seq=0&limit=3"), [[1, 2, 3], true]);
    assert.deepEqual(await page("?after_seq=4&limit=3"), [[5, 6, 7], false]);
    assert.deepEqual(await page("?after_seq=7"), [[], false]);
    for (const query of ["?before_seq=x", "?after_seq=-1", "?limit=0", "?before_seq=3&after_seq=1", "?since=junk"]) {
      const refusal = await scene.as(bob, "GET", `${CONVERSATIONS}/${id}/messages${query}`);
      httpRefused(refusal, 400, "validation_failed", ["errors"]);
    }
  });

  walk("metadata is its creator's and services' to change, and all are told", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob], { title: "old" });
    const b = await (await scene.client(bob)).joinOwn();
    const path = `${CONVERSATIONS}/${id}`;
    const changed = await scene.as(alice, "PATCH", path, { metadata: { title: "new" } });
    assert.equal(changed.status, 200, JSON.stringify(changed.body));
    conversation(changed.body, { id, metadata: { title: "new" } });
    fields(await b.first("conversation_updated", ({ change }) => change === "metadata"), {
      conversation_id: id, change: "metadata", metadata: { title: "new" }, updated_at: changed.body.updated_at,
      ...("user_id" in b.all("conversation_updated", ({ change }) => change === "metadata")[0] ? { user_id: alice } : {}),
    });
    httpRefused(await scene.as(bob, "PATCH", path, { metadata: {} }), 403, "forbidden");
    assert.equal((await scene.service("PATCH", path, { metadata: { title: "service" } })).status, 200);
    conversation((await scene.as(bob, "GET", path)).body, { metadata: { title: "service" } });
    for (const body of [{}, { metadata: "x" }, { metadata: null }]) {
      httpRefused(await scene.as(alice, "PATCH", path, body), 400, "validation_failed", ["errors"]);
    }
  });

  walk("to others a conversation is as if it were not there", async (scene) => {
    const [alice, mallory] = [scene.user("alice"), scene.user("mallory")];
    const id = await scene.group([alice]);
    const calls = (which) => [
      ["GET", `${CONVERSATIONS}/${which}`],
      ["PATCH", `${CONVERSATIONS}/${which}`, { metadata: {} }],
      ["GET", `${CONVERSATIONS}/${which}/messages`],
      ["POST", `${CONVERSATIONS}/${which}/messages`, { message_type: "text", content: "x", client_random: 1 }],
      ["PUT", `${CONVERSATIONS}/${which}/members/${mallory}`],
      ["DELETE", `${CONVERSATIONS}/${which}/members/${alice}`],
    ];
    const real = calls(id);
    const none = calls(randomUUID());
    for (let n = 0; n < real.length; n += 1) {
      const [there, absent] = [await scene.as(mallory, ...real[n]), await scene.as(mallory, ...none[n])];
      httpRefused(there, 404, "not_a_member");
      httpRefused(absent, 404, "not_a_member");
      assert.deepEqual(there.body, absent.body, "the same words");
    }
    const client = await scene.client(mallory);
    for (const which of [id, randomUUID()]) refused(await client.refusedJoin(`conversation:${which}`), "not_a_member");
  });
});
