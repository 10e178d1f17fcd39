// What became of a message is answered within a second also where a gateway is frozen or dead, and says what is missing.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { wiredFor } from "../chaos/cluster.mjs";
import { http, token } from "../support.mjs";
import { until } from "../wait.mjs";

const file = wiredFor({ before, after });

/** Asks the first gateway; the answer and how long it took, in ms. */
async function ask(id, { message_id }, user) {
  const began = performance.now();
  const path = `/api/v1/conversations/${id}/messages/${message_id}/delivery?user_id=${user}`;
  const { status, body } = await http(file.cluster.gatewayPrograms[0].url, "GET", path, { token: token("support", { service: true }) });
  assert.equal(status, 200, JSON.stringify(body));
  return { ...body, took: performance.now() - began };
}

const states = ({ gateways }) => gateways.map(({ state }) => state).sort();

/** Bob is in the conversation on both gateways, and alice on the first. */
async function scene(t) {
  const scene = file.scene(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const id = await scene.group([alice, bob]);
  const [first, second] = file.cluster.gatewayPrograms;
  for (const { url } of [first, second]) {
    const client = await scene.client(bob, { gateway: url });
    await client.joinOwn();
    await client.join(`conversation:${id}`);
  }
  const a = await (await scene.client(alice, { gateway: first.url })).join(`conversation:${id}`);
  const sent = await a.send("both have it");
  await until(async () => (await ask(id, sent, bob)).sockets.filter(({ reason }) => reason === "sent").length === 2);
  return { bob, id, a, sent, second };
}

test("a gateway stopped by SIGSTOP makes the answer a partial one within a second, and is asked again when it wakes", { timeout: 120_000 }, async (t) => {
  const { bob, id, a, second } = await scene(t);
  file.cluster.freeze(second);
  t.after(() => file.cluster.thaw(second));
  const sent = await a.send("one has it");
  let found;
  await until(async () => (found = await ask(id, sent, bob)).verdict === "delivered", { what: () => JSON.stringify(found) });
  t.diagnostic(`with a frozen gateway it took ${Math.round(found.took)} ms`);
  assert.ok(found.took < 1000, `${found.took} ms`);
  assert.deepEqual([found.partial, states(found)], [true, ["answered", "silent"]]);
  const silent = found.gateways.find(({ state }) => state === "silent").id;
  assert.deepEqual(
    found.sockets.map(({ gateway, verdict, reason, last_seq }) => [gateway === silent, verdict, reason, last_seq]).sort(),
    [[false, "delivered", "sent", sent.seq], [true, "unknown", "gateway_silent", null]],
  );
  file.cluster.thaw(second);
  await until(async () => {
    found = await ask(id, sent, bob);
    return !found.partial && found.sockets.filter(({ reason }) => reason === "sent").length === 2;
  }, { timeout: 20_000, what: () => `both to have it, not ${JSON.stringify(found)}` });
});

test("a gateway that was killed is unreachable, and once its lease has lapsed its sockets are gone", { timeout: 120_000 }, async (t) => {
  const { bob, id, a, second } = await scene(t);
  await second.kill();
  t.after(() => file.cluster.restart(second));
  const sent = await a.send("one has it");
  let found = await ask(id, sent, bob);
  assert.ok(found.took < 1000, `${found.took} ms`);
  assert.deepEqual([found.partial, states(found)], [true, ["answered", "unreachable"]]);
  await until(async () => !(found = await ask(id, sent, bob)).partial, { timeout: 40_000, what: () => JSON.stringify(found) });
  assert.deepEqual([found.verdict, found.reason], ["delivered", "sent"]);
});
