// The gRPC API, walked by a Python client that is made from the .proto: the calls, what is refused and how, and streams
// of events that are resumed whatever is killed.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";

import { wiredFor } from "../chaos/cluster.mjs";
import { http, token } from "../support.mjs";
import { until } from "../wait.mjs";
import { Python, address } from "../grpc-client.mjs";

const file = wiredFor({ before, after }, { env: { SIMURGH_RATE_MESSAGES: "0", SIMURGH_RATE_PUSHES: "0" } });
let python;
before(() => (python = new Python()));
after(() => python.close());

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test("health and reflection are served without a token", async () => {
  const [gateway] = file.cluster.gatewayPrograms;
  for (const service of ["", "simurgh.v1.Messaging"]) {
    assert.deepEqual((await python.ask({ do: "health", to: address(gateway), service })).ok, { status: "SERVING" });
  }
  for (const version of ["services_v1", "services_v1alpha"]) {
    const { ok } = await python.ask({ do: version, to: address(gateway) });
    assert.ok(ok.services.includes("simurgh.v1.Messaging"), JSON.stringify(ok));
  }
});

test("a service creates a conversation, manages its members, sends and reads", async (t) => {
  const scene = file.scene(t);
  const [alice, bob, carol] = [scene.user("alice"), scene.user("bob"), scene.user("carol")];
  const [gateway, other] = file.cluster.gatewayPrograms;
  const metadata = { subject: "Invoice 7", due: 1_795_000_000_000, lines: [{ price: 9.5 }, null, true], none: {} };
  const asked = { type: "group", member_ids: [alice, bob], metadata };
  const { conversation, existed } = await python.well(gateway, "CreateConversation", { ...asked, id: randomUUID() });
  assert.deepEqual([existed, conversation.type, conversation.member_ids, conversation.metadata], [false, "group", [alice, bob].sort(), metadata]);
  const again = await python.well(other, "CreateConversation", { ...asked, id: conversation.id });
  assert.equal(again.existed, true);
  const { body } = await http(gateway.url, "GET", `/api/v1/conversations/${conversation.id}`, { token: token(alice) });
  assert.deepEqual(body.metadata, metadata, "whole numbers stay whole");

  const conversation_id = conversation.id;
  await python.well(gateway, "AddMember", { conversation_id, user_id: carol });
  await python.well(gateway, "RemoveMember", { conversation_id, user_id: bob });
  const changed = await python.well(gateway, "UpdateConversation", { conversation_id, metadata: { subject: "Paid" } });
  assert.deepEqual([changed.member_ids, changed.metadata], [[alice, carol].sort(), { subject: "Paid" }]);

  const message = { conversation_id, sender_id: alice, content: "Paid, thanks", client_random: "r1", metadata: { n: 1 } };
  const sent = await python.well(gateway, "SendMessage", message);
  assert.deepEqual([sent.duplicate, sent.message.seq, sent.message.message_type, sent.message.client_random], [false, "1", "text", "r1"]);
  assert.equal((await python.well(other, "SendMessage", message)).duplicate, true);
  const page = await python.well(other, "ListMessages", { conversation_id, after_seq: 0 });
  assert.deepEqual([page.has_more, page.messages.map(({ content }) => content)], [false, ["Paid, thanks"]]);
  await until(async () => (await python.well(gateway, "ListConversations", { user_id: carol })).conversations[0]?.unread_count === "1", { what: "the list" });
  const { conversations } = await python.well(gateway, "ListConversations", { user_id: carol, limit: 1 });
  assert.deepEqual([conversations[0].conversation.id, conversations[0].last_message.content], [conversation_id, "Paid, thanks"]);

  const muted_until = "2031-02-03T04:05:06.789Z";
  const muted = await python.well(gateway, "UpdateSettings", { conversation_id, user_id: carol, muted_until });
  assert.deepEqual([muted.conversation_id, muted.muted_until], [conversation_id, muted_until]);
  assert.deepEqual((await python.well(other, "ListConversations", { user_id: carol })).conversations[0].settings, { muted_until });
  await python.well(gateway, "UpdateSettings", { conversation_id, user_id: carol });
  assert.equal((await python.well(other, "GetSettings", { conversation_id, user_id: carol })).muted_until, undefined);

  await python.well(gateway, "AddContact", { user_id: alice, contact_id: carol });
  assert.deepEqual((await python.well(other, "ListContacts", { user_id: alice })).contacts, [carol]);
  assert.equal((await python.well(other, "GetPresence", { user_id: alice })).status, "offline");
  await python.well(gateway, "RemoveContact", { user_id: alice, contact_id: carol });
  const told = await python.well(gateway, "Notify", { user_id: alice, kind: "invoice", title: "Paid", body: "7", data: { id: 7 } });
  assert.equal(told.delivered_to, 0);
});

test("what is refused names its reason, and a user's token acts for that user alone", async (t) => {
  const scene = file.scene(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const [gateway] = file.cluster.gatewayPrograms;
  const id = await scene.group([alice]);
  const as = (user) => ({ bearer: token(user) });
  const get = { conversation_id: id };
  assert.equal((await python.well(gateway, "GetConversation", get, as(alice))).id, id);
  const refused = async (code, reason, ...call) => {
    const { error } = await python.call(gateway, ...call);
    assert.deepEqual([error.code, error.reason], [code, reason], JSON.stringify(error));
    assert.equal(error.domain, "simurgh");
    return error;
  };
  await refused("UNAUTHENTICATED", "unauthorized", "GetConversation", get, { bearer: "" });
  await refused("UNAUTHENTICATED", "unauthorized", "GetConversation", get, { bearer: token(alice, { ttl: -60 }) });
  await refused("UNAUTHENTICATED", "unauthorized", "GetConversation", get, { bearer: token(alice, { key: "another" }) });
  await refused("NOT_FOUND", "not_a_member", "GetConversation", get, as(bob));
  await refused("NOT_FOUND", "not_found", "GetConversation", { conversation_id: randomUUID() });
  await refused("PERMISSION_DENIED", "forbidden", "Notify", { user_id: bob, kind: "k", title: "t", body: "b" }, as(alice));
  await refused("PERMISSION_DENIED", "forbidden", "RevokeSessions", { user_id: bob }, as(alice));
  const fields = async (...call) => (await refused("INVALID_ARGUMENT", "validation_failed", ...call)).fields;
  assert.deepEqual(await fields("GetConversation", { conversation_id: "a/b" }), ["conversation_id"]);
  assert.deepEqual(await fields("CreateConversation", { type: "crowd", member_ids: [alice] }), ["type"]);
  assert.deepEqual(await fields("ListMessages", { ...get, limit: 500 }), ["limit"]);
  assert.deepEqual(await fields("ListMessages", { ...get, since: "x" }), ["since"]);
  assert.deepEqual(await fields("SendMessage", { ...get, sender_id: alice, content: "x" }), ["client_random"]);
  assert.deepEqual(await fields("Subscribe", {}), ["target"]);
  assert.deepEqual(await fields("Subscribe", { user_id: alice, after_seq: 3 }), ["after_seq"]);
  assert.deepEqual(await fields("Subscribe", { ...get, since: "x" }), ["since"]);
  const large = await refused("INVALID_ARGUMENT", "message_too_large", "SendMessage", { ...get, sender_id: alice, content: "x".repeat(40_000), client_random: "r" });
  assert.equal(large.with.max_bytes, "32768");
  assert.equal((await python.call(gateway, "SendMessage", { ...get, content: "x".repeat(3_000_000), client_random: "r" })).error.code, "OUT_OF_RANGE");
  await refused("NOT_FOUND", "not_a_member", "Subscribe", get, as(bob));
  await refused("UNAUTHENTICATED", "unauthorized", "Subscribe", { user_id: bob }, as(alice));
});

test("a service is told what became of a message, and nobody else", async (t) => {
  const scene = file.scene(t);
  const [alice, bob, carol] = [scene.user("alice"), scene.user("bob"), scene.user("carol")];
  const [gateway, other] = file.cluster.gatewayPrograms;
  const conversation_id = await scene.group([alice, bob]);
  const joined = await (await scene.client(bob, { gateway: other.url })).join(`conversation:${conversation_id}`);
  const bearer = token(bob);
  const stream = python.subscribe(gateway, { conversation_id }, { bearer });
  await stream.stands();
  const sent = { conversation_id, sender_id: alice, content: "hello", client_random: "r1" };
  const { message: { id: message_id, sent_at } } = await python.well(gateway, "SendMessage", sent);
  await Promise.all([joined.first("new_message"), stream.has("new_message")]);
  const asked = { conversation_id, message_id, user_id: bob };
  let found;
  await until(async () => {
    found = await python.well(gateway, "GetDelivery", asked);
    return found.sockets.filter(({ reason }) => reason === "sent").length === 2;
  }, { what: () => `both to have it, not ${JSON.stringify(found)}` });
  assert.deepEqual(
    [found.verdict, found.reason, found.stored, found.member, found.partial, found.last_read_seq, found.last_delivered_seq],
    ["delivered", "sent", { at: sent_at, seq: "1" }, { then: true, now: true }, false, "0", "0"],
  );
  assert.deepEqual(found.sockets.map(({ transport, last_seq }) => [transport, last_seq]).sort(), [["grpc", "1"], ["websocket", "1"]]);
  assert.equal(new Set(found.sockets.map(({ gateway: at }) => at)).size, 2);
  assert.deepEqual(found.gateways.map(({ state }) => state), ["answered", "answered"]);
  await stream.cancel();
  await stream.end();

  const stranger = await python.well(other, "GetDelivery", { ...asked, user_id: carol });
  assert.deepEqual([stranger.verdict, stranger.reason, stranger.member], ["behind", "not_a_member", { then: false, now: false }]);
  assert.deepEqual([stranger.last_read_seq, stranger.last_delivered_seq, stranger.sockets, stranger.gateways], [undefined, undefined, [], []]);
  const refused = async (request, how) => (await python.call(gateway, "GetDelivery", request, how)).error;
  assert.deepEqual([(await refused(asked, { bearer })).code, (await refused(asked, { bearer })).reason], ["PERMISSION_DENIED", "forbidden"]);
  const unknown = await refused({ ...asked, message_id: "00000000-0000-8000-8000-000000000000" });
  assert.deepEqual([unknown.code, unknown.reason], ["NOT_FOUND", "not_found"]);
  for (const field of ["message_id", "user_id"]) {
    const { code, fields } = await refused({ ...asked, [field]: "" });
    assert.deepEqual([code, fields], ["INVALID_ARGUMENT", [field]]);
  }
});

test("a deadline is honoured while no worker answers", async (t) => {
  const scene = file.scene(t);
  const id = await scene.group([scene.user("alice")]);
  const { cluster } = file;
  cluster.workerPrograms.forEach((worker) => cluster.freeze(worker));
  t.after(() => cluster.workerPrograms.forEach((worker) => cluster.thaw(worker)));
  const began = performance.now();
  const { error } = await python.call(cluster.gatewayPrograms[0], "GetConversation", { conversation_id: id }, { timeout: 1 });
  assert.equal(error.code, "DEADLINE_EXCEEDED");
  assert.ok(performance.now() - began < 3_000);
});

test("a conversation's stream tells everything, and whoever subscribes is seen by nobody", async (t) => {
  const scene = file.scene(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const [gateway, other] = file.cluster.gatewayPrograms;
  const id = await scene.group([alice, bob]);
  const [a] = await scene.joined([alice], id, { gateway: other.url });
  const { message_id } = await a.send("before");
  const stream = python.subscribe(gateway, { conversation_id: id });
  const stands = await stream.stands();
  assert.deepEqual([stands.conversation.id, stands.after_seq, stands.since], [id, "1", "c0"]);
  await a.send("hello", { metadata: { n: 5 } });
  const { new_message } = await stream.has("new_message");
  assert.deepEqual([new_message.content, new_message.seq, new_message.metadata, new_message.sender_id], ["hello", "2", { n: 5 }, alice]);
  await a.push("add_reaction", { message_id, reaction: "👍" });
  const added = await stream.has("reaction_added");
  assert.deepEqual([added.reaction.reaction, added.reaction.user_id, added.change_cursor], ["👍", alice, "c1"]);
  await a.push("edit_message", { message_id: new_message.id, content: "hello, all" });
  const edited = await stream.has("message_edited");
  assert.deepEqual([edited.message_edited.message.content, edited.change_cursor], ["hello, all", "c2"]);
  await a.push("delete_message", { message_id, for_everyone: true });
  const deleted = await stream.has("message_deleted");
  assert.deepEqual([deleted.message_deleted.message_id, deleted.message_deleted.seq, deleted.change_cursor], [message_id, "1", "c3"]);
  const hidden = python.subscribe(gateway, { conversation_id: id, after_seq: 0, since: "c0" });
  await a.push("delete_message", { message_id: new_message.id, for_everyone: false });
  await hidden.has("message_deleted");
  assert.deepEqual(hidden.named("new_message").map((event) => event.new_message.content), ["", "hello, all"]);
  await hidden.cancel();
  await a.push("typing_start", {});
  assert.equal((await stream.has("typing_indicator")).other.action, "start");
  await until(() => stream.named("presence_state").length > 0, { what: "who is present" });
  assert.deepEqual(Object.keys(stream.named("presence_state")[0].other), [alice]);
  assert.deepEqual(Object.keys(a.presence?.state ?? { [alice]: 0 }), [alice]);
  await stream.cancel();
  assert.equal((await stream.end()).code, "CANCELLED");
  await nothingLeft(gateway);
});

test("a user's stream tells what sockets on the user's topic are told, and shows the user to nobody", async (t) => {
  const scene = file.scene(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const [gateway, other] = file.cluster.gatewayPrograms;
  const id = await scene.group([alice, bob]);
  const b = await (await scene.client(bob, { gateway: other.url })).join(`conversation:${id}`);
  await b.send("unread");
  const stream = python.subscribe(gateway, { user_id: alice });
  await stream.stands();
  const sync = await stream.has("sync_complete");
  await until(async () => stream.named("sync_complete").length > 0, { what: "sync" });
  assert.equal(sync.sync_complete.user_id, alice);
  await b.send("hello");
  const { new_message, topic } = await stream.has("new_message", (event) => event.new_message.content === "hello");
  assert.deepEqual([topic, new_message.sender_id], [`user:${alice}`, bob]);
  const told = await python.well(other, "Notify", { user_id: alice, kind: "k", title: "t", body: "b", data: { n: 1 } });
  assert.equal(told.delivered_to, 0, "no session of the user's");
  assert.deepEqual((await stream.has("notification")).notification.data, { n: 1 });
  assert.equal((await python.well(other, "GetPresence", { user_id: alice })).status, "offline");
  await stream.cancel();
  await stream.end();
  await nothingLeft(gateway);
});

test("a user's own stream ends with the membership, and with the token", async (t) => {
  const scene = file.scene(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const [gateway, other] = file.cluster.gatewayPrograms;
  const id = await scene.group([alice, bob]);
  const bearer = token(bob);
  const removed = python.subscribe(gateway, { conversation_id: id }, { bearer });
  const revoked = python.subscribe(gateway, { user_id: bob }, { bearer });
  const expired = python.subscribe(gateway, { user_id: bob }, { bearer: token(bob, { ttl: -6 }) });
  const late = python.subscribe(gateway, { user_id: bob }, { bearer, timeout: 5 });
  await Promise.all([removed, revoked, expired, late].map((stream) => stream.stands()));
  await python.well(other, "RemoveMember", { conversation_id: id, user_id: bob });
  assert.equal((await removed.end()).reason, "not_a_member");
  assert.equal((await expired.end()).reason, "unauthorized");
  assert.equal((await late.end()).code, "DEADLINE_EXCEEDED");
  await python.well(other, "RevokeSessions", { user_id: bob });
  assert.deepEqual([(await revoked.end()).code, revoked.ended.error.message], ["UNAUTHENTICATED", "the token was revoked"]);
});

test("a stream goes on, nothing lost and nothing twice, across a killed gateway and a killed worker", { timeout: 120_000 }, async (t) => {
  const scene = file.scene(t);
  const alice = scene.user("alice");
  const { cluster } = file;
  const [goes, stays] = cluster.gatewayPrograms;
  const id = await scene.group([alice]);
  const sent = [];
  let [stops, reacted] = [false, 0];
  const says = (async () => {
    while (!stops) {
      const content = `m${sent.length + 1}`;
      const answer = await python.call(stays, "SendMessage", { conversation_id: id, sender_id: alice, content, client_random: content });
      // Whatever it was, the same again is safe.
      if (answer.error) continue;
      sent.push(content);
      const reaction = { message_id: answer.message.id, reaction: "👍" };
      if (sent.length % 3 === 0) {
        const react = async () => (await scene.client(alice, { gateway: stays.url })).join(`conversation:${id}`);
        says.channel ??= await react().catch(() => undefined);
        await says.channel?.push("add_reaction", reaction).then(() => (reacted += 1), () => {});
      }
      await sleep(20);
    }
  });
  const running = says();
  const seen = { seqs: [], cursors: [] };
  let [position, streams] = [{ after_seq: 0, since: "c0" }, 0];
  const gateways = [goes, stays];
  const reads = (async () => {
    for (; !reads.stops; streams += 1) {
      const stream = python.subscribe(gateways[streams % 2], { conversation_id: id, ...position });
      // The one that goes is looked for again soon.
      if (streams % 2 === 1) setTimeout(() => stream.cancel(), 700);
      await until(() => {
        for (const event of stream.events.splice(0)) {
          if (event.new_message) {
            seen.seqs.push(Number(event.new_message.seq));
            position.after_seq = event.new_message.seq;
          }
          if (event.change_cursor) {
            seen.cursors.push(event.change_cursor);
            position.since = event.change_cursor;
          }
        }
        return stream.ended || reads.stops;
      }, { timeout: 60_000, what: "the stream to end" });
    }
  });
  const reading = reads();
  for (const program of [goes, cluster.workerPrograms[0], goes, cluster.workerPrograms[1]]) {
    await sleep(1_000);
    await program.kill();
    await sleep(1_000);
    await cluster.restart(program);
  }
  goes.signal("SIGTERM");
  assert.deepEqual(await goes.ended(40_000), { code: 0, signal: null });
  await cluster.restart(goes);
  stops = true;
  await running;
  await until(() => seen.seqs.length >= sent.length, { timeout: 20_000, what: () => `${sent.length} messages; ${seen.seqs.length} came` });
  const last = await python.well(stays, "ListMessages", { conversation_id: id });
  await until(() => seen.cursors.at(-1) === last.change_cursor, { timeout: 10_000, what: () => `${last.change_cursor}; ${seen.cursors.at(-1)}` });
  reads.stops = true;
  await reading;
  const stored = Number(last.messages.at(-1).seq);
  assert.deepEqual(seen.seqs, Array.from({ length: stored }, (_, index) => index + 1));
  assert.deepEqual(seen.cursors, Array.from({ length: seen.cursors.length }, (_, index) => `c${index + 1}`));
  assert.ok(reacted > 0 && streams >= 5, `${reacted} reactions, ${streams} streams`);
  t.diagnostic(`${stored} messages and ${seen.cursors.length} changes over ${streams + 1} streams`);
});

test("whoever reads slowly is waited for, at no cost of memory", { timeout: 120_000 }, async (t) => {
  const scene = file.scene(t);
  const alice = scene.user("alice");
  const [gateway, other] = file.cluster.gatewayPrograms;
  const id = await scene.group([alice]);
  const stream = python.subscribe(gateway, { conversation_id: id });
  await stream.stands();
  await stream.pause(true);
  const before = rss(gateway.pid);
  const [count, content] = [1_500, "x".repeat(8_000)];
  for (let sent = 0; sent < count; sent += 50) {
    const burst = Array.from({ length: 50 }, (_, index) => `${sent + index}`);
    await Promise.all(burst.map((client_random) => python.well(other, "SendMessage", { conversation_id: id, sender_id: alice, content, client_random })));
  }
  const grown = rss(gateway.pid) - before;
  t.diagnostic(`${Math.round((count * content.length) / 1e6)} MB unread, the gateway grew by ${(grown / 1e6).toFixed(1)} MB`);
  // What HTTP/2's windows and the client's own buffers hold comes beside the mailbox.
  assert.ok(grown < 8e6, `${grown}`);
  await stream.pause(false);
  await until(() => stream.named("new_message").length === count, { timeout: 60_000, what: () => `${stream.named("new_message").length} of ${count}` });
  assert.deepEqual(stream.named("new_message").map((event) => Number(event.new_message.seq)), Array.from({ length: count }, (_, index) => index + 1));
  await stream.cancel();
});

test("what is no gRPC is answered all the same, and only the internal listener serves it", async () => {
  const [gateway] = file.cluster.gatewayPrograms;
  const answer = await fetch(`${gateway.internal}/simurgh.v1.Messaging/GetConversation`, { method: "POST", body: "{}" });
  assert.match(answer.headers.get("grpc-status"), /^([1-9]|1[0-6])$/);
  assert.equal((await fetch(`${gateway.url}/simurgh.v1.Messaging/GetConversation`, { method: "POST" })).status, 404, "not in public");
  const nowhere = await python.ask({ do: "health", to: address(gateway), service: "nobody" });
  assert.equal(nowhere.error.code, "NOT_FOUND");
});

/** Streams that are over leave nothing on the gateway. */
async function nothingLeft(gateway) {
  await until(async () => {
    const metrics = await (await fetch(`${gateway.internal}/metrics`)).text();
    return /^simurgh_gateway_sockets\{transport="grpc"\} 0$/m.test(metrics);
  }, { what: "no stream to be left" });
}

/** Resident bytes of a process. */
function rss(pid) {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;
}
