// What users miss reaches a push service: the example of one (examples/push) on a real nats-server, with the rights of
// infra/nats/accounts.conf, while it, gateways and workers are killed.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { wiredFor } from "../chaos/cluster.mjs";
import { sendSurely } from "../chaos/surely.mjs";
import { PushService } from "../push-service.mjs";

const file = wiredFor({ before, after });

/** Alice in a group with others, none of whom is connected; carol never is. */
async function room(t, gateway) {
  const scene = file.scene(t);
  const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => scene.user(name));
  const id = await scene.group([alice, bob, carol]);
  const channel = await (await scene.client(alice, { gateway })).join(`conversation:${id}`);
  return { scene, alice, bob, carol, id, channel };
}

/** Bob, connected on his own topic. */
async function connected({ scene, bob }, gateway) {
  const client = await scene.client(bob, { gateway });
  await client.joinOwn();
  return client;
}

test("who is away is pushed to, who is there or has muted it is not, and who is mentioned is told so", { timeout: 120_000 }, async (t) => {
  const [gateway] = file.cluster.gatewayPrograms;
  const service = await PushService.start(t, file.cluster);
  const here = await room(t, gateway.url);
  const { scene, bob, carol, id, channel } = here;
  await channel.send("one", { metadata: { mentions: [carol] } });
  await service.has(bob, id, [1]);
  await service.has(carol, id, [1]);
  const push = service.pushes.find(({ to }) => to === carol);
  assert.match(push.title, /mentioned you/);
  assert.deepEqual(Object.keys(push.data), ["conversation_id", "message_id", "seq"], "no content");
  await connected(here, gateway.url);
  await channel.send("two");
  await service.has(carol, id, [2]);
  const settings = `/api/v1/conversations/${id}/settings`;
  const muted = await scene.as(carol, "PATCH", settings, { muted_until: "9999-12-31T23:59:59.999Z" });
  assert.equal(muted.status, 200);
  await channel.send("three");
  assert.equal((await scene.as(carol, "PATCH", settings, { muted_until: null })).status, 200);
  await channel.send("four");
  await service.has(carol, id, [4]);
  assert.deepEqual(service.to(carol, id), [1, 2, 4]);
  assert.deepEqual(service.to(bob, id), [1], "he was there");
});

test("a socket that closed just before a message is no socket", { timeout: 120_000 }, async (t) => {
  const [one, other] = file.cluster.gatewayPrograms;
  const service = await PushService.start(t, file.cluster);
  const here = await room(t, one.url);
  const { bob, carol, id, channel } = here;
  const client = await connected(here, other.url);
  await channel.send("here");
  await service.has(carol, id, [1]);
  await client.close();
  await channel.send("gone");
  await service.has(bob, id, [2]);
  // And one that comes back within the grace was never gone.
  const again = await connected(here, other.url);
  await again.close();
  const back = channel.send("a blink");
  await connected(here, one.url);
  await back;
  await service.has(carol, id, [3]);
  await channel.send("after");
  await service.has(carol, id, [4]);
  assert.ok(!service.to(bob, id).includes(4));
});

test("what is missed while the push service is down waits for it, whatever else is killed meanwhile", { timeout: 180_000 }, async (t) => {
  const [stays, dies] = file.cluster.gatewayPrograms.filter((program) => !program.exited);
  let service = await PushService.start(t, file.cluster);
  const { bob, id, channel } = await room(t, stays.url);
  await sendSurely(channel, "while it runs");
  await service.has(bob, id, [1]);
  await service.kill();
  const sends = [];
  for (let n = 0; n < 20; n += 1) {
    sends.push(sendSurely(channel, `m${n}`));
    if (n === 5) await file.cluster.workerPrograms[0].kill();
    if (n === 10) await dies.kill();
    await sends[n];
  }
  const seqs = (await Promise.all(sends)).map(({ seq }) => seq);
  await file.cluster.restart(file.cluster.workerPrograms[0]);
  service = await PushService.start(t, file.cluster);
  await service.has(bob, id, seqs, { timeout: 60_000 });
  assert.deepEqual(service.to(bob, id).filter((seq) => seq === 1), [], "what was acknowledged does not come again");
  await file.cluster.restart(dies);
});

test("whose gateway was killed is pushed to what came meanwhile, unless it is back elsewhere", { timeout: 180_000 }, async (t) => {
  const [stays, dies] = file.cluster.gatewayPrograms.filter((program) => !program.exited);
  const service = await PushService.start(t, file.cluster);
  const here = await room(t, stays.url);
  const { scene, bob, carol, id, channel } = here;
  // Sockets of no client of ours that would come back.
  for (const user of [bob, carol]) {
    const raw = await scene.raw(user, { gateway: dies.url });
    assert.equal((await raw.ask("1", "1", `user:${user}`, "phx_join", {}))[4].status, "ok");
  }
  await channel.send("here");
  await dies.kill();
  await sendSurely(channel, "to nobody");
  await (await scene.client(carol, { gateway: stays.url })).joinOwn();
  await service.has(bob, id, [2], { timeout: 60_000 });
  assert.ok(!service.to(carol, id).includes(2), "she came back");
  await file.cluster.restart(dies);
});
