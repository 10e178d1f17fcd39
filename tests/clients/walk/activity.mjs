// What members see of each other in a conversation: typing, reading, reactions.

import assert from "node:assert/strict";

import { fields, invalid, message, recent, refused } from "../shapes.mjs";
import { suite, walk } from "../support.mjs";
import { holds, until } from "../wait.mjs";

const history = async (scene, user, id, query = "") =>
  (await scene.as(user, "GET", `/api/v1/conversations/${id}/messages${query}`)).body;

suite("typing", () => {
  walk("typing is told to the others, not to the typist's own sockets", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a, a2, b] = await scene.joined([alice, alice, bob], id);
    assert.deepEqual(await a.push("typing_start"), {});
    fields(await b.first("typing_indicator"), { user_id: alice, action: "start", timestamp: recent });
    assert.deepEqual(await a.push("typing_stop"), {});
    fields(await b.first("typing_indicator", ({ action }) => action === "stop"), {
      user_id: alice, action: "stop", timestamp: recent,
    });
    await a.send("fence");
    for (const own of [a, a2]) {
      await own.first("new_message");
      assert.deepEqual(own.all("typing_indicator"), []);
    }
  });

  walk("typing stops by itself 10 s after the last start", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a, b] = await scene.joined([alice, bob], id);
    const began = performance.now();
    await a.push("typing_start");
    await until(() => performance.now() - began > 3000);
    await a.push("typing_start");
    const last = performance.now();
    await b.first("typing_indicator", ({ action }) => action === "stop", { timeout: 15_000 });
    const took = b.at("typing_indicator", ({ action }) => action === "stop") - last;
    assert.ok(took > 9000 && took < 12_500, `stopped ${took} ms after the last start`);
    await holds(() => b.all("typing_indicator", ({ action }) => action === "stop").length === 1, 500, "one stop");
  });

  walk("a typist who leaves stops typing", async (scene) => {
    const [alice, bob] = ["alice", "bob"].map((name) => scene.user(name));
    const id = await scene.group([alice, bob]);
    const [a, b] = await scene.joined([alice, bob], id);
    await a.push("typing_start");
    await b.first("typing_indicator");
    await a.leave();
    await b.first("typing_indicator", ({ user_id, action }) => user_id === alice && action === "stop", { timeout: 3000 });
  });

  // Who stops polling is only found to be gone after the 10 s by which typing ends anyway.
  walk("a typist who is cut off stops typing", async (scene) => {
    const [bob, carol] = ["bob", "carol"].map((name) => scene.user(name));
    const id = await scene.group([bob, carol]);
    const [b] = await scene.joined([bob], id);
    const client = await scene.client(carol);
    const c = await client.join(`conversation:${id}`);
    await c.push("typing_start");
    await b.first("typing_indicator", ({ user_id }) => user_id === carol);
    await client.close();
    await b.first("typing_indicator", ({ user_id, action }) => user_id === carol && action === "stop");
  }, { webSocket: true });
});

suite("reading", () => {
  walk("a read position is told to the channel, to the sender's own topic, and to the reader's", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a, b] = await scene.joined([alice, bob], id);
    const ownA = await (await scene.client(alice)).joinOwn();
    const ownB = await (await scene.client(bob)).joinOwn();
    const [one, two] = [await a.send("one"), await a.send("two")];
    assert.deepEqual(await b.push("mark_as_read", { message_id: two.message_id }), { marked_read: true, last_read_seq: 2 });
    for (const joined of [a, b, ownA]) {
      fields(await joined.first("read_receipt"), {
        conversation_id: id, message_id: two.message_id, seq: 2, user_id: bob, read_at: recent,
      });
    }
    const read = await ownB.first("conversation_updated", ({ change }) => change === "read");
    assert.equal(read.conversation_id, id);
    assert.equal(read.user_id, bob);
    recent(read.updated_at);

    // Back or again: the position held is answered, and nobody is told.
    assert.deepEqual(await b.push("mark_as_read", { message_id: one.message_id }), { marked_read: true, last_read_seq: 2 });
    assert.deepEqual(await b.push("mark_as_read", { message_id: two.message_id }), { marked_read: true, last_read_seq: 2 });
    const three = await a.send("three");
    await b.push("mark_as_read", { message_id: three.message_id });
    for (const joined of [a, b, ownA]) {
      await joined.first("read_receipt", ({ seq }) => seq === 3);
      assert.deepEqual(joined.all("read_receipt").map(({ seq }) => seq), [2, 3], joined.topic);
    }
    assert.deepEqual(ownB.all("read_receipt"), []);
  });

  walk("sending reads everything before it, and a rejoin tells the position", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a, b] = await scene.joined([alice, bob], id);
    await a.send("one");
    await b.send("two");
    const client = await scene.client(bob);
    await until(async () => {
      const again = await client.join(`conversation:${id}`);
      await again.leave();
      return again.reply.last_read_seq === 2;
    }, { timeout: 4000, what: "bob's position to be 2" });
    assert.deepEqual(await b.push("mark_as_read", { message_id: (await history(scene, bob, id)).messages[0].id }), {
      marked_read: true, last_read_seq: 2,
    });
  });

  walk("mark_all_read answers each conversation, and tells its last message's sender", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const [one, two] = [await scene.group([alice, bob]), await scene.group([alice, bob])];
    const foreign = await scene.group([alice]);
    const [a1] = await scene.joined([alice], one);
    const [a2] = await scene.joined([alice], two);
    const ownA = await (await scene.client(alice)).joinOwn();
    await a1.send("1");
    const last = await a1.send("2");
    const other = await a2.send("1");

    const ownB = await (await scene.client(bob)).joinOwn();
    const part = await ownB.push("mark_all_read", { conversation_ids: [one, foreign] });
    fields(part, { results: () => {} });
    const byId = Object.fromEntries(part.results.map((result) => [result.conversation_id, result]));
    assert.deepEqual(byId[one], { conversation_id: one, status: "ok", last_read_seq: 2 });
    assert.deepEqual(byId[foreign], { conversation_id: foreign, status: "error", reason: "not_a_member" });
    for (const joined of [a1, ownA]) {
      fields(await joined.first("read_receipt"), {
        conversation_id: one, message_id: last.message_id, seq: 2, user_id: bob, read_at: recent,
      });
    }
    const all = await ownB.push("mark_all_read", {});
    const rest = Object.fromEntries(all.results.map((result) => [result.conversation_id, result]));
    assert.deepEqual(rest[two], { conversation_id: two, status: "ok", last_read_seq: 1 });
    await ownA.first("read_receipt", ({ message_id }) => message_id === other.message_id);
    assert.equal(ownA.all("read_receipt").length, 2);
    invalid(await ownB.refusal("mark_all_read", { conversation_ids: "all" }), "conversation_ids");
  });

  walk("a message nobody knows cannot be read or reacted to", async (scene) => {
    const alice = scene.user("alice");
    const id = await scene.group([alice]);
    const [a] = await scene.joined([alice], id);
    const elsewhere = (await (await scene.joined([alice], await scene.group([alice])))[0].send("x")).message_id;
    for (const message_id of ["00000000-0000-8000-8000-000000000000", elsewhere]) {
      refused(await a.refusal("mark_as_read", { message_id }), "not_found");
      refused(await a.refusal("add_reaction", { message_id, reaction: "👍" }), "not_found");
      refused(await a.refusal("remove_reaction", { message_id, reaction: "👍" }), "not_found");
    }
  });
});

suite("reactions", () => {
  walk("reactions are told once, kept in history, and listed as changes", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a, b] = await scene.joined([alice, bob], id);
    const { message_id } = await a.send("react to me");
    const { change_cursor: since } = await history(scene, alice, id);
    const told = { conversation_id: id, message_id, user_id: bob, timestamp: recent };

    for (let times = 0; times < 2; times += 1) {
      assert.deepEqual(await b.push("add_reaction", { message_id, reaction: "👍" }), { reaction_added: true });
    }
    await a.push("add_reaction", { message_id, reaction: "🎉" });
    for (const joined of [a, b]) {
      fields(await joined.first("reaction_added"), { ...told, reaction: "👍" });
      await joined.first("reaction_added", ({ reaction }) => reaction === "🎉");
      assert.deepEqual(joined.all("reaction_added").map(({ reaction }) => reaction), ["👍", "🎉"]);
    }
    const [stored] = (await history(scene, alice, id)).messages;
    message(stored, { id: message_id, reactions: { "👍": [bob], "🎉": [alice] } });

    for (let times = 0; times < 2; times += 1) {
      assert.deepEqual(await b.push("remove_reaction", { message_id, reaction: "👍" }), { reaction_removed: true });
    }
    await a.push("remove_reaction", { message_id, reaction: "🎉" });
    for (const joined of [a, b]) {
      fields(await joined.first("reaction_removed"), { ...told, reaction: "👍" });
      await joined.first("reaction_removed", ({ reaction }) => reaction === "🎉");
      assert.deepEqual(joined.all("reaction_removed").map(({ reaction }) => reaction), ["👍", "🎉"]);
    }

    await b.push("add_reaction", { message_id, reaction: "again" });
    const page = await history(scene, bob, id, `?since=${encodeURIComponent(since)}`);
    const changes = page.changes.filter((entry) => (entry.id ?? entry.message_id) === message_id);
    assert.equal(changes.length, 1, `the latest form of each: ${JSON.stringify(page.changes)}`);
    assert.deepEqual(changes[0].reactions, { again: [bob] });
    const none = await history(scene, bob, id, `?since=${encodeURIComponent(page.change_cursor)}`);
    assert.deepEqual(none.changes, []);
  });

  walk("one user may put ten reactions on a message, and no bad ones", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a, b] = await scene.joined([alice, bob], id);
    const { message_id } = await a.send("popular");
    for (let n = 0; n < 10; n += 1) await a.push("add_reaction", { message_id, reaction: `r${n}` });
    assert.ok((await a.refusal("add_reaction", { message_id, reaction: "r10" })).reason);
    await b.push("add_reaction", { message_id, reaction: "r10" });
    for (const reaction of ["", "x".repeat(65), "👍".repeat(17), 5, null, undefined, "constructor", "__proto__"]) {
      invalid(await a.refusal("add_reaction", { message_id, reaction }), "reaction");
    }
    const [stored] = (await history(scene, alice, id)).messages;
    assert.equal(Object.keys(stored.reactions).length, 11);
  });
});
