// The store is slow, full, or silent about what it did: sends are answered in time and truly, and nothing is stored twice.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { wiredFor } from "../chaos/cluster.mjs";
import { answered, screen, sendSurely, shows, text } from "../chaos/surely.mjs";

const file = wiredFor({ before, after });

/** Alice and bob on a gateway each, and one message sent. */
async function pair(t) {
  const scene = file.scene(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const id = await scene.group([alice, bob]);
  const clients = [await scene.client(alice, { gateway: scene.gateway(0) }), await scene.client(bob, { gateway: scene.gateway(1) })];
  const [a, b] = [await screen(clients[0], id), await screen(clients[1], id)];
  t.after(() => file.cluster.store.heal());
  return { scene, id, alice, clients, a, b, replies: [await sendSurely(a, "before")] };
}

const history = async ({ scene, alice, id }) => (await scene.as(alice, "GET", `/api/v1/conversations/${id}/messages?limit=200`)).body.messages;

test("a store that freezes for 5 s: every push is answered in time, and everything sent is there once", { timeout: 60_000 }, async (t) => {
  const scene = await pair(t);
  const { a, b, clients, replies } = scene;
  file.cluster.freeze(file.cluster.dynamodb);
  const thaw = setTimeout(() => file.cluster.thaw(file.cluster.dynamodb), 5000);
  t.after(() => clearTimeout(thaw));
  const pushed = Promise.all([answered(a, "add_reaction", { message_id: replies[0].message_id, reaction: "x" }), answered(b, "mark_as_read", { message_id: replies[0].message_id })]);
  const sends = Array.from({ length: 6 }, (_, n) => sendSurely(n % 2 ? a : b, `m${n}`));
  t.diagnostic(`answered: ${(await pushed).map(({ reason, took }) => `${reason} after ${Math.round(took)} ms`)}`);
  replies.push(...await Promise.all(sends));
  for (const joined of [a, b]) await shows(joined, replies);
  for (const client of clients) assert.deepEqual(client.closes, []);
});

for (const fault of ["throttled", "conflict", "error-500"]) {
  test(`every other request is answered ${fault}: sends get through or are unavailable, none is lost and none is there twice`, { timeout: 60_000 }, async (t) => {
    const scene = await pair(t);
    const { a, b, replies } = scene;
    let turn = 0;
    const met = file.cluster.store.injected[fault];
    file.cluster.store.inject(fault, () => (turn += 1) % 2 === 0);
    replies.push(...await Promise.all(Array.from({ length: 20 }, (_, n) => sendSurely(n % 2 ? a : b, `m${n}`))));
    file.cluster.store.heal();
    assert.ok(file.cluster.store.injected[fault] - met >= 10, "the fault was met");
    for (const joined of [a, b]) await shows(joined, replies);
  });
}

test("a reply that the store lost after the commit: the send is acknowledged once, stored once, shown once", { timeout: 60_000 }, async (t) => {
  const scene = await pair(t);
  const { a, b, replies } = scene;
  // The claim's reply, then the slot's: each is lost once.
  for (const nth of [1, 2]) {
    let writes = 0;
    const met = file.cluster.store.injected["lost-reply"];
    file.cluster.store.inject("lost-reply", (operation) => operation === "PutItem" && (writes += 1) === nth);
    const { reason, response } = await answered(a, "send_message", text(`write ${nth} goes unanswered`));
    file.cluster.store.heal();
    assert.equal(file.cluster.store.injected["lost-reply"] - met, 1, "one reply was lost");
    assert.equal(reason, "ok", JSON.stringify(response));
    assert.equal(response.duplicate, false, "the client pushed it once");
    replies.push(response);
  }
  for (const joined of [a, b]) await shows(joined, replies);
  assert.equal((await history(scene)).length, 3);
});

test("every reply of the store is lost: unavailable is no lie, and the same push again tells of the one message", { timeout: 60_000 }, async (t) => {
  const scene = await pair(t);
  const { a, b, replies } = scene;
  file.cluster.store.inject("lost-reply");
  const push = text("who knows");
  const first = await answered(a, "send_message", push);
  file.cluster.store.heal();
  assert.equal(first.reason, "unavailable");
  const again = await sendSurely(a, push.content, push.client_random);
  const once_more = await answered(a, "send_message", push);
  assert.equal(once_more.response.duplicate, true);
  assert.equal(once_more.response.message_id, again.message_id);
  assert.equal(once_more.response.seq, again.seq);
  replies.push(again);
  for (const joined of [a, b]) await shows(joined, replies);
  const stored = await history(scene);
  assert.deepEqual(stored.map(({ content }) => content), ["before", "who knows"]);
  t.diagnostic(`the first push was answered ${first.reason}; the second ${again.duplicate ? "found it stored" : "stored it"}`);
});
