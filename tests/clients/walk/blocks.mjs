// Blocks: who wants to hear nothing of whom, and who is not to notice it.

import assert from "node:assert/strict";

import { fields, httpRefused, invalid, message, presences, recent, refused, sent } from "../shapes.mjs";
import { made, suite, walk } from "../support.mjs";
import { holds, until } from "../wait.mjs";

const BLOCKS = "/api/v1/blocks";

/** How long something is awaited that is not to come. */
const SILENCE_MS = 1500;

async function set(scene, user, other, method) {
  const done = await scene.as(user, method, `${BLOCKS}/${other}`);
  assert.equal(done.status, 204, JSON.stringify(done.body));
}

const block = (scene, user, other) => set(scene, user, other, "PUT");
const unblock = (scene, user, other) => set(scene, user, other, "DELETE");

function direct(scene, user, other) {
  return made(() => scene.as(user, "POST", "/api/v1/conversations", { type: "direct", member_ids: [other] }));
}

/** Two devices of a user, both on its own topic and in the conversation: `own` and `channels`. */
async function devices(scene, user, id) {
  const own = [];
  const channels = [];
  for (let device = 0; device < 2; device += 1) {
    const client = await scene.client(user);
    own.push(await client.joinOwn());
    channels.push(await client.join(`conversation:${id}`));
    await own[device].first("sync_complete");
    await channels[device].first("presence_state");
  }
  return { own, channels, all: [...own, ...channels] };
}

/** That somebody goes is told as it is told; or all who are there are told anew, where membership was asked for just then. */
async function goes(channel, other) {
  const left = () => channel.all("user_left", ({ user_id }) => user_id === other).length > 0 && channel.all("presence_diff", ({ leaves }) => other in leaves).length > 0;
  const anew = () => channel.all("presence_state").length > 1 && !(other in channel.all("presence_state").at(-1));
  await until(() => left() || anew(), { what: () => `${other} to go from ${channel.topic}; seen: ${JSON.stringify(channel.log.map(({ event }) => event))}` });
}

const listed = async (scene, user, id) => {
  const page = (await scene.as(user, "GET", "/api/v1/conversations")).body.conversations;
  return page.find((conversation) => conversation.id === id);
};

const history = async (scene, user, id) => (await scene.as(user, "GET", `/api/v1/conversations/${id}/messages`)).body.messages;

suite("blocks", () => {
  walk("are listed in pages, told to one's own devices alone, and a service names the user", async (scene) => {
    const [alice, bob, carol, mallory] = ["alice", "bob", "carol", "mallory"].map((name) => scene.user(name));
    const a = await (await scene.client(alice)).joinOwn();
    const b = await (await scene.client(bob)).joinOwn();
    const list = async (query = "") => (await scene.as(alice, "GET", `${BLOCKS}${query}`)).body;
    fields(await list(), { blocks: [], next_cursor: null });
    for (const other of [carol, bob, bob]) await block(scene, alice, other);
    fields(await a.first("blocks_updated", ({ user_id }) => user_id === bob), { user_id: bob, blocked: true, at: recent });
    const first = await list("?limit=1");
    fields(first.blocks[0], { user_id: bob, created_at: recent });
    const rest = await list(`?limit=1&cursor=${first.next_cursor}`);
    assert.deepEqual([rest.blocks.map(({ user_id }) => user_id), rest.next_cursor], [[carol], null]);
    for (let turn = 0; turn < 2; turn += 1) await unblock(scene, alice, bob);
    await a.first("blocks_updated", ({ user_id, blocked }) => user_id === bob && !blocked);
    assert.deepEqual((await list()).blocks.map(({ user_id }) => user_id), [carol]);
    assert.deepEqual(b.all("blocks_updated"), [], "nobody else is told");

    const oneself = await scene.as(alice, "PUT", `${BLOCKS}/${alice}`);
    httpRefused(oneself, 400, "validation_failed", ["errors"]);
    invalid(oneself.body.error, "user_id");
    httpRefused(await scene.as(alice, "PUT", `${BLOCKS}/_`), 400, "validation_failed", ["errors"]);
    httpRefused(await scene.as(alice, "GET", `${BLOCKS}?cursor=zz`), 400, "validation_failed", ["errors"]);
    httpRefused(await scene.as(mallory, "PUT", `${BLOCKS}/${bob}?user_id=${alice}`), 403, "forbidden");
    httpRefused(await scene.service("PUT", `${BLOCKS}/${bob}`), 400, "validation_failed", ["errors"]);
    assert.equal((await scene.service("PUT", `${BLOCKS}/${bob}?user_id=${alice}`)).status, 204);
    const named = await scene.service("GET", `${BLOCKS}?user_id=${alice}`);
    assert.deepEqual(named.body.blocks.map(({ user_id }) => user_id), [bob, carol]);
  });

  walk("who is blocked writes on as ever, and its words never come to who blocked it", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await direct(scene, alice, bob);
    const [a, b] = [await devices(scene, alice, id), await devices(scene, bob, id)];
    const before = await b.channels[0].send("before");
    for (const device of a.all) await device.first("new_message");
    await block(scene, alice, bob);
    for (const device of a.own) await device.first("blocks_updated");

    const reply = await b.channels[0].send("unheard");
    sent(reply, { sender_id: bob, content: "unheard", conversation_id: id });
    for (const device of b.all) await device.first("new_message", ({ content }) => content === "unheard");
    const edited = await b.channels[1].push("edit_message", { message_id: before.message_id, content: "put otherwise" });
    assert.equal(edited.message_edited, true);
    await b.channels[0].push("add_reaction", { message_id: before.message_id, reaction: "a word" });
    await b.channels[0].push("typing_start");
    for (const device of b.channels) await device.first("message_edited");
    const said = ["new_message", "message_edited", "reaction_added", "typing_indicator"];
    const heard = () => a.all.flatMap((device) => said.flatMap((event) => device.all(event)));
    await holds(() => heard().filter(({ content }) => content !== "before").length === 0, SILENCE_MS, "nothing is heard");

    const bobs = await history(scene, bob, id);
    assert.deepEqual(bobs.map(({ content }) => content), ["put otherwise", "unheard"]);
    const alices = await history(scene, alice, id);
    assert.deepEqual(alices.map(({ content, hidden }) => [content, hidden]), [["", true], ["", true]]);
    assert.deepEqual(alices[0].reactions, {});
    assert.equal((await listed(scene, alice, id)).unread_count, 1, "the one before");
    assert.equal((await listed(scene, bob, id)).last_message.content, "unheard");
    const late = await (await scene.client(alice)).join(`conversation:${id}`, { last_seq: 0, since: "c0" });
    assert.ok(late.reply.messages.every(({ content }) => content === ""), JSON.stringify(late.reply.messages));

    refused(await a.channels[0].refusal("send_message", { message_type: "text", content: "x", client_random: 1 }), "blocked");
    const posted = { message_type: "text", content: "x", client_random: 2 };
    httpRefused(await scene.as(alice, "POST", `/api/v1/conversations/${id}/messages`, posted), 403, "blocked");

    await unblock(scene, alice, bob);
    await b.channels[0].send("heard");
    for (const device of a.all) await device.first("new_message", ({ content }) => content === "heard");
    await a.channels[0].send("and answered");
    for (const device of b.all) await device.first("new_message", ({ content }) => content === "and answered");
    for (const device of a.all) assert.equal(device.all("new_message", ({ content }) => content === "unheard").length, 0);
    assert.deepEqual((await history(scene, alice, id)).map(({ content }) => content), ["", "", "heard", "and answered"]);
  });

  walk("neither is there for the other: not in lists, not in groups, not typing, not reading", async (scene) => {
    const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => scene.user(name));
    const pair = await direct(scene, alice, bob);
    const group = await scene.group([alice, bob, carol]);
    const [a, b] = [await devices(scene, alice, group), await devices(scene, bob, group)];
    const [c] = await scene.joined([carol], group);
    const inPair = await scene.joined([alice, bob], pair);
    await inPair[0].first("presence_state");
    await until(() => inPair.every((channel) => channel.log.some(({ payload }) => JSON.stringify(payload).includes(bob))));
    const both = [...a.channels.map((channel) => [channel, bob]), ...b.channels.map((channel) => [channel, alice])];
    const open = [...both, [inPair[0], bob], [inPair[1], alice]];
    const owns = [...a.own.map((own) => [own, bob]), ...b.own.map((own) => [own, alice])];
    for (const [own, other] of owns) {
      await until(() => own.log.some(({ event, payload }) => event.startsWith("presence_") && JSON.stringify(payload).includes(other)));
    }
    await block(scene, alice, bob);
    for (const [channel, other] of open) await goes(channel, other);
    for (const [own, other] of owns) {
      await own.first("presence_diff", ({ leaves }) => other in leaves);
      const gone = await own.first("user_presence_changed", ({ user_id, status }) => user_id === other && status === "offline");
      fields(gone, { user_id: other, status: "offline", last_seen: recent });
    }
    for (const [user, other] of [[alice, bob], [bob, alice]]) {
      const presence = await scene.as(user, "GET", `/api/v1/users/${other}/presence`);
      fields(presence.body, { user_id: other, status: "offline", last_seen: recent });
      const late = await (await scene.client(user)).join(`conversation:${group}`);
      presences(await late.first("presence_state"), [user, carol]);
      const own = await (await scene.client(user)).joinOwn();
      assert.deepEqual(await own.first("presence_state"), {});
    }
    // In groups messages are for all, whoever wrote them; who types and reads is not.
    const marks = open.map(([channel]) => channel.log.length);
    const reply = await b.channels[0].send("to all");
    for (const channel of [...a.channels, c]) message(await channel.first("new_message"), { id: reply.message_id, content: "to all" });
    await b.channels[0].push("typing_start");
    await c.first("typing_indicator");
    await a.channels[0].push("mark_as_read", { message_id: reply.message_id });
    await c.first("read_receipt");
    const told = () => open.flatMap(([channel, other], index) =>
      channel.log.slice(marks[index]).filter(({ event, payload }) => event !== "new_message" && payload.user_id === other));
    const receipts = () => b.own.flatMap((own) => own.all("read_receipt"));
    await holds(() => told().length === 0 && receipts().length === 0, SILENCE_MS, "nothing of the other");
    assert.equal(c.all("user_left").length, 0, "a third one sees both");

    await unblock(scene, alice, bob);
    for (const [index, [channel, other]] of open.entries()) {
      await channel.first("user_joined", ({ user_id }) => user_id === other, { after: marks[index] });
      await channel.first("presence_diff", ({ joins }) => other in joins, { after: marks[index] });
    }
    for (const [own, other] of owns) await own.first("user_presence_changed", ({ user_id, status }) => user_id === other && status === "online");
    assert.equal((await scene.as(bob, "GET", `/api/v1/users/${alice}/presence`)).body.status, "online");
  });

  walk("a conversation that the blocked one begins is its own alone, until it is heard", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const own = await (await scene.client(alice)).joinOwn();
    await block(scene, alice, bob);
    const refusal = await scene.as(alice, "POST", "/api/v1/conversations", { type: "direct", member_ids: [bob] });
    httpRefused(refusal, 403, "blocked");
    const id = await direct(scene, bob, alice);
    const [b] = await scene.joined([bob], id);
    await b.send("unheard");
    await holds(() => [...own.all("conversation_updated"), ...own.all("new_message")].length === 0, SILENCE_MS, "silence");
    assert.equal(await listed(scene, alice, id), undefined);
    assert.equal((await listed(scene, bob, id)).last_message.content, "unheard");
    await unblock(scene, alice, bob);
    assert.equal(await listed(scene, alice, id), undefined);
    await b.send("heard");
    await own.first("new_message", ({ content }) => content === "heard");
    const shown = await listed(scene, alice, id);
    assert.deepEqual([shown.last_message.content, shown.unread_count], ["heard", 1]);
  });
});
