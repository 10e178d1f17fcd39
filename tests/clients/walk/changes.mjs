// What happens to messages that are there: edits, deletions, answers, and what has come to whom.

import assert from "node:assert/strict";

import { fields, httpRefused, invalid, message, recent, refused, sent } from "../shapes.mjs";
import { suite, walk } from "../support.mjs";

const path = (id, message_id, more = "") => `/api/v1/conversations/${id}/messages${message_id ? `/${message_id}` : ""}${more}`;
const history = async (scene, user, id, query = "") => (await scene.as(user, "GET", path(id, "", query))).body;
const text = (content, client_random, more = {}) => ({ message_type: "text", content, client_random, ...more });

/** A group of alice, bob and carol, the first two of whom have joined it. */
async function group(scene) {
  const users = ["alice", "bob", "carol"].map((name) => scene.user(name));
  const id = await scene.group(users);
  return { users, id, channels: await scene.joined(users.slice(0, 2), id) };
}

suite("answers", () => {
  walk("an answer shows whom it answers and how that begins, wherever it is shown", async (scene) => {
    const { users: [alice, bob], id, channels: [a, b] } = await group(scene);
    const own = await (await scene.client(alice)).joinOwn();
    const first = await a.push("send_message", text("é".repeat(300), 1));
    const quote = { id: first.message_id, seq: 1, sender_id: alice, message_type: "text", preview: "é".repeat(100) };
    const reply = sent(await b.push("send_message", text("re", 1, { reply_to_id: first.message_id })), { seq: 2, reply_to: quote });
    for (const joined of [a, b, own]) {
      message(await joined.first("new_message", ({ seq }) => seq === 2), { id: reply.id, sender_id: bob, reply_to: quote });
    }
    message((await history(scene, alice, id, "?after_seq=1")).messages[0], { reply_to: quote, reactions: {} });
    const listed = (await scene.as(bob, "GET", "/api/v1/conversations?limit=1")).body.conversations[0];
    message(listed.last_message, { reply_to: quote });

    await a.push("edit_message", { message_id: first.message_id, content: "short" });
    const later = (await history(scene, alice, id)).messages[1];
    message(later, { reply_to: { ...quote, preview: "short" }, reactions: {} });
    await a.push("delete_message", { message_id: first.message_id, for_everyone: true });
    message((await history(scene, alice, id)).messages[1], { reply_to: { ...quote, preview: null }, reactions: {} });
    // What is deleted is not answered any more, and a repeat of what is stored is answered as ever.
    invalid(await b.refusal("send_message", text("too late", 2, { reply_to_id: first.message_id })), "reply_to_id");
    const again = await b.push("send_message", text("re", 1, { reply_to_id: first.message_id }));
    sent(again, { seq: 2, reply_to: { ...quote, preview: null } }, { duplicate: true });
  });
});

suite("edits", () => {
  walk("an edit is told to the channel, kept, and refused to others", async (scene) => {
    const { users: [alice, bob], id, channels: [a, b] } = await group(scene);
    const { message_id } = await a.push("send_message", text("before", 1, { metadata: { a: 1 } }));
    const since = (await history(scene, bob, id)).change_cursor;
    const reply = await a.push("edit_message", { message_id, content: "after" });
    fields(reply, { message_edited: true, message: () => {} });
    const want = { id: message_id, seq: 1, sender_id: alice, content: "after", metadata: { a: 1 }, client_random: 1, edited_at: reply.message.edited_at };
    recent(reply.message.edited_at);
    message(reply.message, want);
    for (const joined of [a, b]) {
      const told = await joined.first("message_edited");
      fields(told, { message: () => {} });
      message(told.message, want);
    }
    const page = await history(scene, bob, id, `?since=${since}`);
    for (const shown of [page.messages[0], page.changes[0]]) message(shown, { ...want, reactions: {} });
    // By HTTP, with other metadata; a repeat of the first push is still known.
    const patched = await scene.as(alice, "PATCH", path(id, message_id), { content: "again", metadata: {} });
    assert.equal(patched.status, 200, JSON.stringify(patched.body));
    assert.deepEqual([patched.body.message.content, patched.body.message.metadata], ["again", {}]);
    await b.first("message_edited", ({ message: told }) => told.content === "again");
    const repeat = await a.push("send_message", text("before", 1, { metadata: { a: 1 } }));
    sent(repeat, { seq: 1, content: "again", edited_at: patched.body.message.edited_at }, { duplicate: true });

    refused(await b.refusal("edit_message", { message_id, content: "x" }), "forbidden");
    httpRefused(await scene.as(bob, "PATCH", path(id, message_id), { content: "x" }), 403, "forbidden");
    httpRefused(await scene.as(scene.user("mallory"), "PATCH", path(id, message_id), { content: "x" }), 404, "not_a_member");
    httpRefused(await scene.service("PATCH", path(id, message_id), { content: "x" }), 400, "validation_failed", ["errors"]);
    httpRefused(await scene.service("PATCH", path(id, message_id), { content: "x", sender_id: bob }), 403, "forbidden");
    refused(await a.refusal("edit_message", { message_id: "00000000-0000-8000-8000-000000000000", content: "x" }), "not_found");
    refused(await a.refusal("edit_message", { message_id, content: "x".repeat(32 * 1024 + 1) }), "message_too_large", ["max_bytes"]);
    for (const content of [undefined, null, 5]) invalid(await a.refusal("edit_message", { message_id, content }), "content");
    for (const metadata of [[], "x", 5]) invalid(await a.refusal("edit_message", { message_id, content: "x", metadata }), "metadata");
    invalid(await a.refusal("edit_message", { message_id: "x", content: "x" }), "message_id");
    assert.equal((await history(scene, bob, id)).messages[0].content, "again", "what is refused changes nothing");
    assert.equal((await scene.service("PATCH", path(id, message_id), { content: "by a service", sender_id: alice })).status, 200);
  });
});

suite("deletions", () => {
  walk("what is deleted for everyone is gone for everyone, and only its place is left", async (scene) => {
    const { users: [alice, bob, carol], id, channels: [a, b] } = await group(scene);
    const { message_id, seq } = await a.push("send_message", text("secret", "name", { metadata: { m: "secret" } }));
    await b.push("add_reaction", { message_id, reaction: "👍" });
    const since = (await history(scene, bob, id)).change_cursor;
    refused(await b.refusal("delete_message", { message_id, for_everyone: true }), "forbidden");
    assert.deepEqual(await a.push("delete_message", { message_id, for_everyone: true }), { message_deleted: true });
    const told = { conversation_id: id, message_id, seq, user_id: alice, at: recent };
    for (const joined of [a, b]) fields(await joined.first("message_deleted"), told);
    const { at } = b.all("message_deleted")[0];
    const left = {
      id: message_id, seq, sender_id: alice, message_type: "text", content: "", metadata: {}, client_random: "name",
      reply_to_id: null, reactions: {}, deleted_at: at,
    };
    const page = await history(scene, carol, id, `?since=${since}`);
    for (const shown of [page.messages[0], page.changes[0]]) message(shown, left);
    const back = await (await scene.client(bob)).join(`conversation:${id}`, { last_seq: 0, since });
    for (const shown of [back.reply.messages[0], back.reply.changes[0]]) message(shown, left);
    assert.ok(!JSON.stringify([page, back.reply]).includes("secret"));

    assert.deepEqual(await a.push("delete_message", { message_id, for_everyone: true }), { message_deleted: true }, "idempotent");
    refused(await a.refusal("edit_message", { message_id, content: "late" }), "not_found");
    for (const event of ["add_reaction", "remove_reaction"]) refused(await b.refusal(event, { message_id, reaction: "👍" }), "not_found");
    const repeat = await a.push("send_message", text("secret", "name"));
    sent(repeat, { id: message_id, content: "", deleted_at: at }, { duplicate: true });
    refused(await a.refusal("send_message", text("other", "name")), "conflict", ["message_id"]);
    for (const for_everyone of [undefined, null, "yes"]) invalid(await a.refusal("delete_message", { message_id, for_everyone }), "for_everyone");
    await a.send("fence");
    await b.first("new_message", ({ content }) => content === "fence");
    assert.equal(b.all("message_deleted").length, 1, "told once");
  });

  walk("what one deletes for oneself is hidden from oneself alone", async (scene) => {
    const { users: [alice, bob, carol], id, channels: [a, b] } = await group(scene);
    const device = await (await scene.client(bob)).join(`conversation:${id}`);
    const { message_id } = await a.push("send_message", text("secret", 1));
    await a.push("send_message", text("re", 2, { reply_to_id: message_id }));
    const since = (await history(scene, bob, id)).change_cursor;
    assert.deepEqual(await b.push("delete_message", { message_id, for_everyone: false }), { message_deleted: true });
    for (const joined of [b, device]) {
      fields(await joined.first("message_hidden"), { conversation_id: id, message_id, seq: 1, user_id: bob, at: recent });
    }
    const hidden = { id: message_id, seq: 1, content: "", metadata: {}, hidden: true, reactions: {} };
    const page = await history(scene, bob, id, `?since=${since}`);
    const back = await (await scene.client(bob)).join(`conversation:${id}`, { last_seq: 0, since });
    for (const shown of [page.messages[0], page.changes[0], back.reply.messages[0], back.reply.changes[0]]) message(shown, hidden);
    for (const shown of [page.messages[1], back.reply.messages[1]]) assert.equal(shown.reply_to.preview, null);
    const others = await history(scene, carol, id, `?since=${since}`);
    assert.deepEqual(others.changes, []);
    message(others.messages[0], { content: "secret", sender_id: alice, reactions: {} });

    const last = await a.send("last");
    assert.equal((await scene.as(bob, "DELETE", path(id, last.message_id, "?for_everyone=false"))).status, 204);
    const preview = async (user) => (await scene.as(user, "GET", "/api/v1/conversations?limit=1")).body.conversations[0].last_message;
    message(await preview(bob), { id: last.message_id, content: "", hidden: true });
    message(await preview(alice), { id: last.message_id, content: "last" });
    assert.deepEqual(await b.push("mark_as_read", { message_id: last.message_id }), { marked_read: true, last_read_seq: 3 });
    await a.first("read_receipt", ({ seq }) => seq === 3);
    assert.deepEqual(a.all("message_hidden"), [], "that is nobody else's business");
  });

  walk("by HTTP, and a service deletes anybody's", async (scene) => {
    const { users: [alice, bob], id, channels: [a, b] } = await group(scene);
    const [one, two] = [await a.send("one"), await a.send("two")];
    httpRefused(await scene.as(bob, "DELETE", path(id, one.message_id)), 403, "forbidden");
    httpRefused(await scene.as(scene.user("mallory"), "DELETE", path(id, one.message_id)), 404, "not_a_member");
    httpRefused(await scene.as(alice, "DELETE", path(id, "nonsense")), 400, "validation_failed", ["errors"]);
    httpRefused(await scene.service("DELETE", path(id, one.message_id, "?for_everyone=false")), 400, "validation_failed", ["errors"]);
    assert.equal((await scene.as(alice, "DELETE", path(id, one.message_id))).status, 204);
    fields(await b.first("message_deleted"), { conversation_id: id, message_id: one.message_id, seq: 1, user_id: alice, at: recent });
    assert.equal((await scene.service("DELETE", path(id, two.message_id))).status, 204);
    fields(await b.first("message_deleted", ({ seq }) => seq === 2), {
      conversation_id: id, message_id: two.message_id, seq: 2, user_id: null, at: recent,
    });
  });

  walk("an edit that races a deletion never brings it back", async (scene) => {
    const { users: [alice, bob], id, channels: [a, b] } = await group(scene);
    const other = await (await scene.client(alice)).join(`conversation:${id}`);
    for (let round = 1; round <= 5; round += 1) {
      const { message_id } = await a.send(`secret ${round}`);
      const race = await Promise.allSettled([
        a.push("edit_message", { message_id, content: "secret edited" }),
        other.push("delete_message", { message_id, for_everyone: true }),
        b.push("add_reaction", { message_id, reaction: "👍" }),
      ]);
      assert.equal(race[1].status, "fulfilled", JSON.stringify(race));
      await b.first("message_deleted", ({ seq }) => seq === round);
    }
    const page = await history(scene, bob, id, "?since=c0");
    assert.ok(!JSON.stringify(page).includes("secret"), JSON.stringify(page));
    for (const shown of page.messages) assert.deepEqual([shown.content, shown.reactions, typeof shown.deleted_at], ["", {}, "string"]);
  });
});

suite("delivery", () => {
  walk("what has come to a member is told to the sender's own topic, and receipts say who has what", async (scene) => {
    const { users: [alice, bob, carol], id, channels: [a, b] } = await group(scene);
    const own = await (await scene.client(alice)).joinOwn();
    const [one, two] = [await a.send("one"), await a.send("two")];
    const marked = { marked_delivered: true, last_delivered_seq: 2 };
    assert.deepEqual(await b.push("mark_as_delivered", { message_id: two.message_id }), marked);
    fields(await own.first("delivery_receipt"), {
      conversation_id: id, message_id: two.message_id, seq: 2, user_id: bob, at: recent,
    });
    for (const { message_id } of [one, two]) assert.deepEqual(await b.push("mark_as_delivered", { message_id }), marked);
    await b.push("mark_as_read", { message_id: one.message_id });
    const receipts = async (user, { message_id }) => (await scene.as(user, "GET", path(id, message_id, "/receipts"))).body;
    const none = { delivered: false, delivered_at: null, read: false, read_at: null };
    const { receipts: [ofBob, ofCarol], ...rest } = await receipts(alice, one);
    assert.deepEqual(rest, { conversation_id: id, message_id: one.message_id, seq: 1 });
    fields(ofBob, { user_id: bob, delivered: true, delivered_at: recent, read: true, read_at: recent });
    assert.deepEqual(ofCarol, { user_id: carol, ...none });
    fields((await receipts(carol, two)).receipts[0], { user_id: bob, delivered: true, delivered_at: recent, read: false, read_at: null });
    httpRefused(await scene.as(scene.user("mallory"), "GET", path(id, one.message_id, "/receipts")), 404, "not_a_member");
    refused(await b.refusal("mark_as_delivered", { message_id: "00000000-0000-8000-8000-000000000000" }), "not_found");
    for (const message_id of [undefined, null, 5, "x"]) invalid(await b.refusal("mark_as_delivered", { message_id }), "message_id");

    const three = await a.send("three");
    await b.push("mark_as_delivered", { message_id: three.message_id });
    await own.first("delivery_receipt", ({ seq }) => seq === 3);
    assert.deepEqual(own.all("delivery_receipt").map(({ seq }) => seq), [2, 3], "only where it moved");
    assert.deepEqual([...a.all("delivery_receipt"), ...b.all("delivery_receipt")], [], "the sender's own topic alone");
  });
});
