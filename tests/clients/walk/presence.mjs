// Who is there: in a conversation, and among contacts.

import assert from "node:assert/strict";

import { Presence } from "../phoenix.mjs";

import { fields, httpRefused, invalid, presences, recent, time } from "../shapes.mjs";
import { longPoll, suite, walk } from "../support.mjs";
import { holds, until } from "../wait.mjs";

/** Binds phoenix.js' Presence before the join; `who()` lists the ids it holds, `status(id)` the latest status. */
function watcher() {
  const seen = {};
  seen.bind = (channel) => (seen.presence = new Presence(channel));
  seen.who = () => seen.presence.list((id) => id).sort();
  seen.metas = (id) => seen.presence.state[id]?.metas ?? [];
  seen.statuses = (id) => seen.metas(id).map(({ status }) => status);
  return seen;
}

const contact = async (scene, user, other, method = "PUT") => {
  const done = await scene.as(user, method, `/api/v1/contacts/${other}`);
  assert.equal(done.status, 204, JSON.stringify(done.body));
};

suite("in a conversation", () => {
  walk("members see who joins and who leaves, by event and by phoenix.js' Presence", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const topic = `conversation:${id}`;
    const seen = watcher();
    const a = await (await scene.client(alice)).join(topic, {}, seen.bind);
    presences(await a.first("presence_state"), [alice]);

    const clientB = await scene.client(bob);
    const b = await clientB.join(topic);
    presences(await b.first("presence_state", (state) => bob in state), [alice, bob]);
    fields(await a.first("user_joined"), { user_id: bob, timestamp: recent });
    const diff = await a.first("presence_diff", ({ joins }) => bob in joins);
    fields(diff, { joins: (joins) => presences(joins, Object.keys(joins)), leaves: () => {} });
    await until(() => seen.who().join() === [alice, bob].sort().join(), { what: () => `both, not ${seen.who()}` });

    // A second device is a second meta, and nobody "joined".
    const b2 = await (await scene.client(bob)).join(topic);
    await until(() => seen.metas(bob).length === 2, { what: "two metas of bob" });
    await b2.leave();
    await until(() => seen.metas(bob).length === 1, { what: "one meta of bob" });
    assert.equal(a.all("user_joined").length, 1);
    assert.equal(a.all("user_left").length, 0);

    const left = performance.now();
    await b.leave();
    fields(await a.first("user_left"), { user_id: bob, timestamp: recent });
    assert.ok(a.at("user_left") - left < 2500, "an explicit leave is told at once");
    await until(() => seen.who().join() === alice, { what: () => `alice alone, not ${seen.who()}` });
    assert.deepEqual([...a.all("user_joined"), ...a.all("user_left")].filter(({ user_id }) => user_id === alice), [],
      "only the others are told");
  });

  walk("who is back within 3 s was never gone, and who is not has left", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const topic = `conversation:${id}`;
    const seen = watcher();
    const a = await (await scene.client(alice)).join(topic, {}, seen.bind);
    const client = await scene.client(bob);
    const b = await client.join(topic);
    await a.first("user_joined");
    await b.first("presence_state");

    client.drop();
    await until(() => b.all("presence_state").length === 2, { what: "bob to be back" });
    await holds(() => a.all("user_left").length === 0 && a.all("user_joined").length === 1, 4500, "nobody gone");
    assert.ok(seen.who().includes(bob));

    const gone = performance.now();
    await client.close();
    // A long poll that is broken off before it reaches a gateway is missed there after 15 s only.
    const most = longPoll ? 20_000 : 8_000;
    await a.first("user_left", ({ user_id }) => user_id === bob, { timeout: most + 2_000 });
    const took = a.at("user_left") - gone;
    assert.ok(took > 2500 && took < most, `told ${took} ms after`);
    await until(() => !seen.who().includes(bob), { what: "bob's meta to go" });
  });
});

suite("among contacts", () => {
  walk("a status is seen by whom one added, and by nobody because they added one", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    await contact(scene, alice, bob);
    assert.deepEqual((await scene.as(alice, "GET", "/api/v1/contacts")).body, { contacts: [bob] });
    assert.deepEqual((await scene.as(bob, "GET", "/api/v1/contacts")).body, { contacts: [] });

    const seenByBob = watcher();
    const b = await (await scene.client(bob)).joinOwn(seenByBob.bind);
    assert.deepEqual(await b.first("presence_state"), {});
    const clientA = await scene.client(alice);
    const a = await clientA.joinOwn();
    assert.deepEqual(await a.first("presence_state"), {}, "bob did not add alice");

    fields(await b.first("user_presence_changed"), {
      user_id: alice, status: "online", last_seen: (value) => value === null || time(value),
    });
    const diff = await b.first("presence_diff", ({ joins }) => alice in joins);
    presences(diff.joins, [alice], { status: true });
    await until(() => seenByBob.statuses(alice).join() === "online");

    assert.deepEqual(await a.push("update_presence", { status: "away" }), { status: "away" });
    await b.first("user_presence_changed", ({ status }) => status === "away");
    await until(() => seenByBob.statuses(alice).join() === "away", { what: () => `away, not ${seenByBob.statuses(alice)}` });

    // A later join sees it in the state, oneself left out.
    const late = await (await scene.client(bob)).joinOwn();
    const state = await late.first("presence_state");
    presences(state, [alice], { status: true });
    assert.equal(state[alice].metas[0].status, "away");

    await b.push("update_presence", { status: "busy" });
    await clientA.close();
    const gone = await b.first("user_presence_changed", ({ status }) => status === "offline", { timeout: 10_000 });
    assert.equal(gone.user_id, alice);
    recent(gone.last_seen);
    await until(() => seenByBob.who().length === 0, { what: "alice to go" });
    assert.deepEqual(a.all("user_presence_changed"), []);
    assert.deepEqual(a.all("presence_diff"), []);
  });

  walk("a direct conversation shows each to the other", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const made = await scene.as(alice, "POST", "/api/v1/conversations", { type: "direct", member_ids: [bob] });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    const a = await (await scene.client(alice)).joinOwn();
    const b = await (await scene.client(bob)).joinOwn();
    await a.first("user_presence_changed", ({ user_id, status }) => user_id === bob && status === "online");
    presences(await b.first("presence_state"), [alice], { status: true });
  });

  walk("adding shows oneself to one who is already there, and removing hides again", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const seen = watcher();
    await (await scene.client(bob)).joinOwn(seen.bind);
    await (await scene.client(alice)).joinOwn();
    await contact(scene, alice, bob);
    await until(() => seen.who().join() === alice, { what: "bob to see alice" });
    await contact(scene, alice, bob, "DELETE");
    await until(() => seen.who().length === 0, { what: "bob to see nobody" });
    assert.deepEqual((await scene.as(alice, "GET", "/api/v1/contacts")).body, { contacts: [] });
  });

  walk("presence by HTTP follows the same rule", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const ask = (by, of) => scene.as(by, "GET", `/api/v1/users/${of}/presence`);
    const hidden = await ask(bob, alice);
    assert.ok([403, 404].includes(hidden.status), JSON.stringify(hidden.body));
    httpRefused(hidden, hidden.status, hidden.status === 403 ? "forbidden" : "not_found");

    // A service adds for a user.
    const added = await scene.service("PUT", `/api/v1/contacts/${bob}?user_id=${alice}`);
    assert.equal(added.status, 204, JSON.stringify(added.body));
    assert.deepEqual((await scene.service("GET", `/api/v1/contacts?user_id=${alice}`)).body, { contacts: [bob] });
    const offline = await ask(bob, alice);
    assert.equal(offline.status, 200);
    fields(offline.body, { user_id: alice, status: "offline", last_seen: (value) => value === null || time(value) });
    assert.notEqual((await ask(alice, bob)).status, 200, "adding never shows the other");

    const a = await (await scene.client(alice)).joinOwn();
    await a.push("update_presence", { status: "busy" });
    await until(async () => (await ask(bob, alice)).body.status === "busy", { what: "busy by HTTP" });
    assert.equal((await scene.service("GET", `/api/v1/users/${alice}/presence`)).body.status, "busy");
    assert.equal((await ask(alice, alice)).status, 200, "one may see oneself");
  });

  walk("the latest status chosen on any device holds", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    await contact(scene, alice, bob);
    const one = await (await scene.client(alice, { gateway: scene.gateway(0) })).joinOwn();
    await one.push("update_presence", { status: "busy" });
    const two = await (await scene.client(alice, { gateway: scene.gateway(1) })).joinOwn();
    assert.equal(two.reply.status, "busy");
    const seen = watcher();
    await (await scene.client(bob)).joinOwn(seen.bind);
    await until(() => seen.statuses(alice).join() === "busy,busy", { what: () => `busy twice, not ${seen.statuses(alice)}` });
    await two.push("update_presence", { status: "online" });
    await until(() => seen.statuses(alice).join() === "online,online", { what: () => `online twice, not ${seen.statuses(alice)}` });
  });

  walk("who is invisible is nowhere, and causes nothing", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const topic = `conversation:${id}`;
    await contact(scene, alice, bob);
    const [seenOwn, seenThere] = [watcher(), watcher()];
    const clientB = await scene.client(bob);
    const ownB = await clientB.joinOwn(seenOwn.bind);
    const b = await clientB.join(topic, {}, seenThere.bind);
    const clientA = await scene.client(alice);
    const ownA = await clientA.joinOwn();
    await until(() => seenOwn.who().join() === alice, { what: "alice to be seen" });

    assert.deepEqual(await ownA.push("update_presence", { status: "offline" }), { status: "offline" });
    await ownB.first("user_presence_changed", ({ user_id, status }) => user_id === alice && status === "offline");
    await until(() => seenOwn.who().length === 0, { what: "alice to be gone" });
    assert.equal((await scene.as(bob, "GET", `/api/v1/users/${alice}/presence`)).body.status, "offline");

    const a = await clientA.join(topic);
    await a.send("from nowhere");
    await b.first("new_message");
    await holds(() => seenThere.who().join() === bob && b.all("user_joined").length === 0, 1000, "nobody joined");
    await a.leave();
    await holds(() => b.all("user_left").length === 0, 1000, "nobody left");

    await ownA.push("update_presence", { status: "online" });
    await until(() => seenOwn.statuses(alice).join() === "online", { what: "alice to be seen again" });
  });

  walk("only the four statuses can be chosen", async (scene) => {
    const alice = scene.user("alice");
    const a = await (await scene.client(alice)).joinOwn();
    for (const status of ["gone", "", 5, null, undefined, ["online"]]) {
      invalid(await a.refusal("update_presence", { status }), "status");
    }
    assert.deepEqual(await a.push("update_presence", { status: "away" }), { status: "away" });
  });
});
