// A revocation outlives everything, and is found where it was not heard of.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { wiredFor } from "../chaos/cluster.mjs";
import { Raw } from "../client.mjs";
import { http, token } from "../support.mjs";
import { until } from "../wait.mjs";

const file = wiredFor({ before, after });

async function revoked(scene, user) {
  const { status, body } = await scene.service("DELETE", `/api/v1/users/${user}/sessions`);
  assert.equal(status, 202, JSON.stringify(body));
  return body;
}

/** What an upgrade with this token is answered, 101 where it opens. */
async function upgrade(gateway, bearer) {
  const raw = new Raw(gateway, { token: bearer });
  const { status } = await raw.opened.then(() => ({ status: 101 }), (error) => error);
  await raw.close();
  return status;
}

test("it holds after nats-server and both gateways were restarted", { timeout: 90_000 }, async (t) => {
  const scene = file.scene(t);
  const { cluster } = file;
  const alice = scene.user("alice");
  const old = token(alice);
  await revoked(scene, alice);
  await cluster.nats.kill();
  await cluster.restart(cluster.nats);
  for (const gateway of cluster.gatewayPrograms) {
    await gateway.kill();
    await cluster.restart(gateway);
  }
  const urls = cluster.gatewayPrograms.map(({ url }) => url);
  for (const url of urls) {
    await until(async () => (await http(url, "GET", "/readyz")).status === 200, { timeout: 20_000, what: `${url} to be ready` });
    assert.equal(await upgrade(url, old), 403);
    assert.equal((await http(url, "GET", "/api/v1/contacts", { token: old })).status, 401);
    assert.equal(await upgrade(url, token(alice, { claims: { iat: Math.floor(Date.now() / 1000) } })), 101);
  }
});

test("a gateway that did not hear of it finds it within 20 s", { timeout: 60_000 }, async (t) => {
  const scene = file.scene(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const [client, other] = [await scene.client(alice), await scene.client(bob)];
  let lost = 0;
  for (const { nats } of file.cluster.workerPrograms) {
    nats.lose((subject, direction) => direction === "up" && subject.endsWith(".gates") && (lost += 1) > 0);
    t.after(() => nats.lose(() => false));
  }
  await revoked(scene, alice);
  const told = performance.now();
  await until(() => client.closes.length > 0, { timeout: 20_000, what: "the socket to be closed" });
  t.diagnostic(`closed after ${Math.round(performance.now() - told)} ms`);
  assert.ok(lost > 0, "nobody heard of it");
  assert.deepEqual(client.closes[0], { code: 4003, reason: "revoked" });
  assert.deepEqual(other.closes, []);
});
