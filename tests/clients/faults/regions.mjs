// Two regions: workers, table and NATS at home, and a gateway far away on a leaf node, behind a wire that takes its time
// and can be cut.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { answered, screen, sendSurely, shows, text } from "../chaos/surely.mjs";
import { Wire } from "../network/tcp.mjs";
import { Presence } from "../phoenix.mjs";
import { freePort, natsUrl, startNats } from "../processes.mjs";
import { Cluster, startCluster } from "../setups.mjs";
import { Scene, http } from "../support.mjs";
import { until } from "../wait.mjs";

/** Each way, in ms: about what lies between Europe and the east of America. */
const FAR_MS = 40;
/** As long as a lease: then those who were far away count as gone. */
const LEASE_MS = 15_000;

let cluster;
let wire;
let far;
before(async () => {
  const port = await freePort();
  class Home extends Cluster {
    natsOptions = { domain: "home", more: [`leafnodes { listen: "127.0.0.1:${port}", no_advertise: true, authorization { users: [{ user: leaf, password: leaf-password, account: SIMURGH }] } }`] };
  }
  cluster = await startCluster({ gateways: 1, workers: 2, Kind: Home });
  wire = await Wire.to(port);
  wire.delay(FAR_MS);
  const more = [`leafnodes { reconnect: 1s, remotes: [{ url: "nats-leaf://leaf:leaf-password@127.0.0.1:${wire.port}", account: SIMURGH }] }`];
  const leaf = await startNats(cluster.dir, { name: "leaf", more, of: "home", launch: cluster.launch });
  far = await cluster.startGateway({ env: { SIMURGH_NATS_URL: natsUrl(leaf.port, "gateway") } });
}, { timeout: 60_000 });
after(async () => {
  await cluster?.stop();
  wire?.close();
});

/** Alice at home and bob far away, in one conversation; who each of them sees is in `seen`. */
async function pair(t) {
  const scene = new Scene(cluster.gateways);
  t.after(() => scene.close());
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const id = await scene.group([alice, bob]);
  const [home] = cluster.gatewayPrograms;
  const clients = [await scene.client(alice, { gateway: home.url }), await scene.client(bob, { gateway: far.url })];
  const [a, b] = [await screen(clients[0], id), await screen(clients[1], id)];
  const presence = new Presence((await scene.client(alice, { gateway: home.url })).socket.channel(`conversation:${id}`));
  presence.channel.join();
  const sees = (users) => until(() => presence.list((user) => user).sort().join() === [...users].sort().join(), { timeout: LEASE_MS + 10_000, what: () => `${users} to be there, not ${presence.list((user) => user)}` });
  return { id, alice, bob, clients, a, b, sees };
}

test(`a gateway that is ${FAR_MS} ms away each way is one of the system's`, { timeout: 60_000 }, async (t) => {
  const { a, b, alice, bob, clients, sees } = await pair(t);
  await sees([alice, bob]);
  const took = { home: [], far: [] };
  const replies = [];
  for (let n = 0; n < 10; n += 1) {
    for (const [where, joined] of [["home", a], ["far", b]]) {
      const began = performance.now();
      replies.push(await sendSurely(joined, `${where} ${n}`));
      took[where].push(performance.now() - began);
    }
  }
  for (const joined of [a, b]) await shows(joined, replies);
  t.diagnostic(`a send took ${Math.round(Math.min(...took.home))} ms at home and ${Math.round(Math.min(...took.far))} ms far away, at least`);
  assert.ok(Math.min(...took.far) >= 2 * FAR_MS, "the way home and back");
  for (const client of clients) assert.deepEqual(client.closes, []);
});

test("a region that is cut off keeps its sockets, counts as gone, and comes back by itself", { timeout: 120_000 }, async (t) => {
  const { a, b, alice, bob, clients, sees } = await pair(t);
  await sees([alice, bob]);
  const replies = [await sendSurely(b, "before")];
  wire.cut();
  const refused = await answered(b, "send_message", text("cut off"));
  assert.equal(refused.reason, "unavailable");
  replies.push(await sendSurely(a, "home goes on"));
  await sees([alice]);
  await until(async () => (await http(far.url, "GET", "/readyz")).status === 503, { timeout: 3000, what: "new clients to go elsewhere" });
  const { body } = await http(far.url, "GET", "/readyz");
  t.diagnostic(`readyz: ${typeof body === "string" ? body.trim() : JSON.stringify(body)}`);

  wire.heal();
  wire.delay(FAR_MS);
  const healed = performance.now();
  replies.push(await sendSurely(b, "back"));
  t.diagnostic(`a send from far away was acknowledged ${Math.round(performance.now() - healed)} ms after the wire was there again`);
  replies.push(await sendSurely(a, "together"));
  for (const joined of [a, b]) await shows(joined, replies);
  await sees([alice, bob]);
  assert.equal(far.exited, undefined);
  for (const client of clients) assert.deepEqual(client.closes, []);
});

test("a region whose wire hangs says in time that it is not ready, and that it is once the wire is again", { timeout: 120_000 }, async (t) => {
  const ready = () => http(far.url, "GET", "/readyz");
  await until(async () => (await ready()).status === 200, { what: "the region to be ready" });
  wire.hold();
  const held = performance.now();
  t.after(() => wire.heal());
  // It renewed its lease a moment ago: 14 s from then, and a second for looking. Each call waits for 5 s meanwhile.
  await until(async () => (await ready()).status === 503, { timeout: 16_000, what: "new clients to go elsewhere" });
  t.diagnostic(`not ready after ${Math.round(performance.now() - held)} ms`);
  wire.heal();
  wire.delay(FAR_MS);
  await until(async () => (await ready()).status === 200, { timeout: 30_000, what: "the region to be ready again" });
});
