// NATS dies, or one gateway is cut off from it: sockets stay, nothing is a lie, and everything heals by itself.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Presence } from "../phoenix.mjs";

import { wiredFor } from "../chaos/cluster.mjs";
import { answered, screen, sendSurely, shows, text } from "../chaos/surely.mjs";
import { Raw } from "../client.mjs";
import { http, token } from "../support.mjs";
import { until } from "../wait.mjs";

const file = wiredFor({ before, after });

/** Alice on the first gateway and bob on the second, in one conversation. */
async function pair(t) {
  const scene = file.scene(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const [first, second] = file.cluster.gatewayPrograms;
  const id = await scene.group([alice, bob]);
  const clients = [await scene.client(alice, { gateway: first.url }), await scene.client(bob, { gateway: second.url })];
  const [a, b] = [await screen(clients[0], id), await screen(clients[1], id)];
  return { scene, id, alice, bob, clients, a, b, first, second };
}

/** Sends through both, and both show everything. */
async function bothGoOn({ a, b }, replies) {
  const at = performance.now();
  replies.push(...await Promise.all([sendSurely(a, "a goes on"), sendSurely(b, "b goes on")]));
  const took = performance.now() - at;
  for (const joined of [a, b]) await shows(joined, replies);
  return Math.round(took);
}

test("nats-server is killed and comes back empty: sockets stay, pushes are unavailable in time, presence is rebuilt", { timeout: 60_000 }, async (t) => {
  const { cluster } = file;
  const scene = await pair(t);
  const { a, b, clients, alice, bob, id } = scene;
  const replies = [await sendSurely(a, "before")];

  await cluster.nats.kill();
  await until(() => /connection to NATS is lost/.test(scene.first.stdout + scene.first.stderr), { what: "the gateway to notice" });
  const refused = await Promise.all([a, b].flatMap((joined) => [answered(joined, "send_message", text("lost?")), answered(joined, "add_reaction", { message_id: replies[0].message_id, reaction: "x" })]));
  assert.deepEqual(refused.map(({ reason }) => reason), Array(4).fill("unavailable"));
  t.diagnostic(`refused within ${Math.round(Math.max(...refused.map(({ took }) => took)))} ms`);
  // A push from before the server is back is carried out by the server that comes, or refused: never left hanging.
  const across = sendSurely(a, "across the outage");
  await cluster.restart(cluster.nats);
  const back = performance.now();
  replies.push(await across);
  t.diagnostic(`healed in ${Math.round(performance.now() - back)} ms, both ways ${await bothGoOn(scene, replies)} ms`);

  // The keys were in its memory: whoever joins now sees everybody, on both gateways, and everybody sees them come.
  for (const gateway of [scene.first.url, scene.second.url]) {
    const late = await scene.scene.client(alice, { gateway });
    let presence;
    await late.join(`conversation:${id}`, {}, (channel) => (presence = new Presence(channel)));
    await until(() => presence.list((user) => user).sort().join() === [alice, bob].sort().join(), { timeout: 5000, what: () => `both at ${gateway}, not ${presence.list((user) => user)}` });
    await late.close();
  }
  for (const joined of [a, b]) assert.deepEqual(joined.all("user_left"), [], "nobody ever left");
  for (const client of clients) assert.deepEqual(client.closes, [], "sockets stay open");
});

test("a gateway cut off from NATS is not ready after 10 s and says why; sockets stay, new ones get 503, and it heals", { timeout: 90_000 }, async (t) => {
  const scene = await pair(t);
  const { a, b, clients, second, bob } = scene;
  const replies = [await sendSurely(a, "before")];
  const ready = () => http(second.url, "GET", "/readyz");

  second.nats.cut();
  const cutAt = performance.now();
  const refused = await answered(b, "send_message", text("cut off"));
  assert.equal(refused.reason, "unavailable");
  // The others notice nothing.
  replies.push(...await Promise.all(Array.from({ length: 5 }, (_, n) => answered(a, "send_message", text(`m${n}`)).then(({ response }) => response))));
  assert.equal((await ready()).status, 200, "a short cut is no failure");
  let answer;
  await until(async () => (answer = await ready()).status === 503, { timeout: 12_000, what: "readyz to tell" });
  const unready = performance.now() - cutAt;
  assert.ok(unready > 9000 && unready < 12_500, `not ready after ${unready} ms`);
  assert.match(JSON.stringify(answer.body), /backplane/);
  const late = new Raw(second.url, { token: token(bob) });
  await assert.rejects(late.opened, (error) => error.status === 503);
  assert.equal((await http(second.url, "GET", "/healthz")).status, 200);

  second.nats.heal();
  const healed = performance.now();
  await until(async () => (await ready()).status === 200, { timeout: 10_000, what: "the gateway to be ready again" });
  t.diagnostic(`ready ${Math.round(performance.now() - healed)} ms after the cut ended`);
  await bothGoOn(scene, replies);
  for (const client of clients) assert.deepEqual(client.closes, [], "sockets stay open");
});

for (const direction of ["up", "down"]) {
  test(`a one-way cut (${direction}): what cannot be done is unavailable in time, and afterwards nothing is missing`, { timeout: 60_000 }, async (t) => {
    const scene = await pair(t);
    const { a, b, clients, second } = scene;
    const replies = [await sendSurely(a, "before")];
    second.nats.hold(direction);
    const sends = Array.from({ length: 3 }, (_, n) => sendSurely(b, `from one who is not heard or does not hear ${n}`));
    const { reason } = await answered(b, "add_reaction", { message_id: replies[0].message_id, reaction: "x" });
    assert.equal(reason, "unavailable");
    replies.push(await sendSurely(a, "meanwhile"));
    second.nats.heal();
    replies.push(...await Promise.all(sends));
    await bothGoOn(scene, replies);
    for (const client of clients) assert.deepEqual(client.closes, [], "sockets stay open");
  });
}
