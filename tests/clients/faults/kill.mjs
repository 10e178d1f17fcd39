// Processes of set-up (b) die without a word: the rest goes on serving, and nothing acknowledged is lost.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { balanced, screen, sendSurely, shows } from "../chaos/surely.mjs";
import { Scene } from "../support.mjs";
import { startCluster } from "../setups.mjs";
import { until } from "../wait.mjs";

let cluster;
before(async () => {
  cluster = await startCluster();
  process.env.SIMURGH_WALK_GATEWAYS = cluster.gateways.join(",");
}, { timeout: 60_000 });
after(() => cluster?.stop());

/** A scene on the gateways that live now. */
async function onCluster(t) {
  const scene = new Scene(cluster.gateways);
  t.after(() => scene.close());
  return scene;
}

test("a worker that is killed takes nothing acknowledged with it, and the other goes on", { timeout: 120_000 }, async (t) => {
  const scene = await onCluster(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  // Several conversations, so that some were the killed worker's own.
  for (const id of [await scene.group([alice, bob]), await scene.group([alice, bob]), await scene.group([alice, bob])]) {
    const a = await screen(await scene.client(alice, { gateway: scene.gateway(0) }), id);
    const b = await screen(await scene.client(bob, { gateway: scene.gateway(1) }), id);
    const victim = cluster.workerPrograms.find((program) => !program.exited);
    const replies = [await sendSurely(a, "before")];
    const sends = [];
    for (let n = 0; n < 12; n += 1) {
      sends.push(sendSurely(n % 2 ? a : b, `m${n}`));
      if (n === 5) await victim.kill();
    }
    replies.push(...await Promise.all(sends));
    assert.equal(new Set(replies.map(({ message_id }) => message_id)).size, 13);
    for (const joined of [a, b]) await shows(joined, replies);
    await cluster.startWorker();
  }
});

test("a gateway that is killed takes its sockets only: they come back elsewhere and miss nothing", { timeout: 120_000 }, async (t) => {
  const scene = await onCluster(t);
  const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => scene.user(name));
  const id = await scene.group([alice, bob, carol]);
  const [stays, dies] = cluster.gatewayPrograms.filter((program) => !program.exited);
  const clientA = await scene.client(alice, balanced(cluster, stays));
  const clientB = await scene.client(bob, balanced(cluster, dies));
  const a = await screen(clientA, id);
  const b = await screen(clientB, id);
  // Carol had her only socket there, and does not come back.
  const c = await scene.raw(carol, { gateway: dies.url });
  await c.ask("1", "1", `conversation:${id}`, "phx_join", {});
  await a.first("user_joined", ({ user_id }) => user_id === carol);

  const replies = [await sendSurely(a, "before"), await sendSurely(b, "before, too")];
  const sends = [sendSurely(a, "as it dies"), sendSurely(b, "from one who loses the socket")];
  await dies.kill();
  sends.push(...Array.from({ length: 5 }, (_, n) => sendSurely(a, `after ${n}`)));
  replies.push(...await Promise.all(sends));
  await until(() => b.channel.isJoined() && clientB.closes.length > 0, { timeout: 20_000, what: "bob to be back" });
  replies.push(await sendSurely(b, "back elsewhere"));
  for (const joined of [a, b]) await shows(joined, replies);
  assert.deepEqual(clientA.closes, [], "nobody else notices");

  // Presence converges within 20 s where a gateway was killed.
  await a.first("user_left", ({ user_id }) => user_id === carol, { timeout: 25_000 });
  const late = await (await scene.client(alice, { gateway: stays.url })).join(`conversation:${id}`);
  assert.deepEqual(Object.keys(await late.first("presence_state")).sort(), [alice, bob].sort());
  await cluster.startGateway();
});

test("without any worker a push is answered unavailable in time, and works again with one", { timeout: 120_000 }, async (t) => {
  const scene = await onCluster(t);
  const alice = scene.user("alice");
  const id = await scene.group([alice]);
  const client = await scene.client(alice);
  const a = await client.join(`conversation:${id}`);
  await Promise.all(cluster.workerPrograms.map((program) => program.kill()));
  const began = performance.now();
  const refusal = await a.refusal("send_message", { message_type: "text", content: "x", client_random: 1 });
  assert.equal(refusal.reason, "unavailable", JSON.stringify(refusal));
  assert.ok(performance.now() - began < 9000, "within 8 s");
  const typing = await a.push("typing_start");
  assert.deepEqual(typing, {}, "what needs no worker works");
  assert.equal((await fetch(`${cluster.gateways[0]}/readyz`)).status, 200, "a gateway that knows no live worker is ready");
  await cluster.startWorker();
  assert.equal((await sendSurely(a, "x", 1)).seq, 1);
  assert.deepEqual(client.closes, []);
  await cluster.startWorker();
});

test("a new gateway and a new worker serve at once", { timeout: 60_000 }, async (t) => {
  await Promise.all([cluster.startGateway(), cluster.startWorker()]);
  const scene = await onCluster(t);
  const alice = scene.user("alice");
  const newest = scene.gateways.at(-1);
  const id = await scene.group([alice]);
  const a = await (await scene.client(alice, { gateway: newest })).join(`conversation:${id}`);
  assert.equal((await sendSurely(a, "hello")).seq, 1);
});
