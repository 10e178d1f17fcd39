// Long poll while gateways go: a session lives in one of them, and its client must not notice more than a socket's does.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { startBalancer } from "../balancer.mjs";
import { startCluster } from "../setups.mjs";
import { Scene } from "../support.mjs";
import { until } from "../wait.mjs";

let cluster;
let balancer;
/** Gateways that the balancer has seen to be not ready. */
const away = new Set();

before(async () => {
  cluster = await startCluster();
  balancer = await startBalancer(() => cluster.gateways.filter((url) => !away.has(url)));
}, { timeout: 60_000 });
after(async () => {
  balancer?.stop();
  await cluster?.stop();
});

/** A long-poll client in a conversation with one on a socket; what it saw, rejoins included. */
async function pair(t) {
  const scene = new Scene(cluster.gateways);
  t.after(() => scene.close());
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const id = await scene.group([alice, bob]);
  const [goes, stays] = cluster.gatewayPrograms.filter((program) => !program.exited);
  const a = await (await scene.client(alice, { gateway: stays.url })).join(`conversation:${id}`);
  // The session is opened at the one that will go.
  away.add(stays.url);
  const client = await scene.client(bob, { gateway: balancer.url, longPoll: true });
  away.delete(stays.url);
  const seen = [];
  const b = await client.join(`conversation:${id}`, () => ({ last_seq: seen.length }), (channel) => {
    channel.on("new_message", ({ seq }) => seen.push(seq));
    channel.joinPush.receive("ok", ({ messages }) => messages.forEach(({ seq }) => seen.push(seq)));
  });
  return { a, b, client, seen, goes };
}

for (const [how, signal] of [["drains", "SIGTERM"], ["is killed", "SIGKILL"]]) {
  test(`a gateway that holds sessions ${how}: their clients go on elsewhere and miss nothing`, { timeout: 90_000 }, async (t) => {
    const { a, b, client, seen, goes } = await pair(t);
    await a.send("before");
    await until(() => seen.length === 1);
    away.add(goes.url);
    goes.signal(signal);
    await Promise.all(Array.from({ length: 5 }, (_, n) => a.send(`meanwhile ${n}`)));
    await goes.ended(20_000);
    away.delete(goes.url);
    await cluster.startGateway();
    await until(() => b.channel.isJoined() && seen.length === 6, { timeout: 20_000, what: () => `six messages, not ${seen}` });
    assert.deepEqual(seen, [1, 2, 3, 4, 5, 6]);
    await b.push("send_message", { message_type: "text", content: "from here", client_random: "b" });
    await until(() => seen.length === 7);
    assert.ok(client.closes.length <= 2, JSON.stringify(client.closes));
  });
}

test("both gateways are replaced under a session, one after the other", { timeout: 90_000 }, async (t) => {
  const { b, seen } = await pair(t);
  const sent = [];
  for (const program of cluster.gatewayPrograms.filter((one) => !one.exited)) {
    await cluster.startGateway();
    away.add(program.url);
    program.signal("SIGTERM");
    const content = `past ${program.name}`;
    // A push under way when its session ends gets no answer: sent again, it is the same message.
    for (;;) {
      const reply = await b.push("send_message", { message_type: "text", content, client_random: content }, 3000).catch(() => undefined);
      if (reply) break;
    }
    sent.push(content);
    assert.deepEqual(await program.ended(20_000), { code: 0, signal: null });
  }
  await until(() => seen.length === sent.length, { timeout: 20_000, what: () => `${sent.length} messages, not ${seen}` });
  assert.deepEqual(seen, sent.map((_, at) => at + 1));
});
