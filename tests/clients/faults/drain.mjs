// SIGTERM: sockets are told to come back elsewhere, what is in flight is answered, the process exits 0.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Raw } from "../client.mjs";
import { Program, answers200, binary, freePort, natsUrl, startNats } from "../processes.mjs";
import { Scene, http, token } from "../support.mjs";
import { startCluster } from "../setups.mjs";
import { until } from "../wait.mjs";

let cluster;
before(async () => {
  cluster = await startCluster();
}, { timeout: 60_000 });
after(() => cluster?.stop());

async function onCluster(t) {
  const scene = new Scene(cluster.gateways);
  t.after(() => scene.close());
  return scene;
}

test("a gateway drains: pushes in flight are answered, sockets closed with 1012, exit 0", { timeout: 60_000 }, async (t) => {
  const scene = await onCluster(t);
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const [stays, goes] = cluster.gatewayPrograms;
  const id = await scene.group([alice, bob]);
  const a = await (await scene.client(alice, { gateway: stays.url })).join(`conversation:${id}`);
  // A balancer sends nobody to a gateway that is not ready.
  let draining = false;
  const client = await scene.client(bob, { gateway: goes.url, via: () => (draining ? stays : goes).url });
  const seen = [];
  const b = await client.join(`conversation:${id}`, () => ({ last_seq: seen.length }), (channel) => {
    channel.on("new_message", ({ seq }) => seen.push(seq));
    channel.joinPush.receive("ok", ({ messages }) => messages.forEach(({ seq }) => seen.push(seq)));
  });
  const raw = await scene.raw(bob, { gateway: goes.url });

  const inFlight = Array.from({ length: 10 }, (_, n) => b.send(`in flight ${n}`));
  await Promise.race(inFlight);
  draining = true;
  goes.signal("SIGTERM");
  await Promise.all(inFlight);
  assert.deepEqual(await raw.ended(), { code: 1012, reason: "service_restart" });
  assert.deepEqual(await goes.ended(15_000), { code: 0, signal: null });
  await until(() => client.closes.length > 0);
  assert.equal(client.closes[0].code, 1012);

  await a.send("while bob moves");
  await until(() => seen.length === 11, { what: () => `eleven messages, not ${seen}` });
  assert.deepEqual(seen, Array.from({ length: 11 }, (_, n) => n + 1));
  assert.deepEqual(a.all("new_message").map(({ seq }) => seq), seen);
  await until(() => b.channel.isJoined());
  await b.send("from elsewhere");
  await cluster.startGateway();
});

test("during the drain delay a gateway is not ready but takes sockets; afterwards it takes none", { timeout: 60_000 }, async (t) => {
  const scene = await onCluster(t);
  const alice = scene.user("alice");
  const program = await cluster.startGateway({ env: { SIMURGH_DRAIN_DELAY: "3s", SIMURGH_DRAIN_WINDOW: "2s" } });
  const early = await scene.raw(alice, { gateway: program.url });
  program.signal("SIGTERM");
  await until(async () => (await http(program.url, "GET", "/readyz")).status === 503, { timeout: 2000, what: "readyz to tell" });
  assert.equal((await http(program.url, "GET", "/healthz")).status, 200);
  const late = await scene.raw(alice, { gateway: program.url });
  assert.equal((await late.ask("1", "1", `user:${alice}`, "phx_join", {}))[4].status, "ok");
  for (const raw of [early, late]) assert.deepEqual(await raw.ended(10_000), { code: 1012, reason: "service_restart" });
  assert.deepEqual(await program.ended(10_000), { code: 0, signal: null });
});

test("a worker that is told to stop finishes what it has, and nobody notices", { timeout: 60_000 }, async (t) => {
  const scene = await onCluster(t);
  const alice = scene.user("alice");
  const id = await scene.group([alice]);
  const client = await scene.client(alice);
  const a = await client.join(`conversation:${id}`);
  for (const program of [...cluster.workerPrograms].slice(0, 2)) {
    await cluster.startWorker();
    const sends = Promise.all(Array.from({ length: 10 }, (_, n) => a.send(`m${n}`)));
    program.signal("SIGTERM");
    await sends;
    assert.deepEqual(await program.ended(15_000), { code: 0, signal: null });
  }
  await until(() => a.all("new_message").length === 20);
  assert.deepEqual(a.all("new_message").map(({ seq }) => seq), Array.from({ length: 20 }, (_, n) => n + 1));
  assert.deepEqual(client.closes, []);
});

test("programs that start before the broker say so, wait for it, and are ready when it is there", { timeout: 90_000 }, async (t) => {
  const port = await freePort();
  const env = (role) => ({ SIMURGH_NATS_URL: natsUrl(port, role) });
  const gateway = await cluster.startGateway({ env: env("gateway"), wait: false });
  const worker = await cluster.startWorker({ env: env("worker"), wait: false });
  for (const program of [gateway, worker]) {
    await program.ready(() => answers200(`${program.url}/healthz`));
    const { status, body } = await http(program.url, "GET", "/readyz");
    assert.equal(status, 503);
    assert.match(typeof body === "string" ? body : JSON.stringify(body), /nats|backplane/i, "the failing part is named");
    await until(() => /nats|backplane/i.test(program.stdout + program.stderr), { what: `${program.name} to say what it waits for` });
  }
  const raw = new Raw(gateway.url, { token: token("alice") });
  await assert.rejects(raw.opened, (error) => error.status === 503);
  const nats = await startNats(cluster.dir, { name: "nats-late", port });
  t.after(() => nats.kill());
  for (const program of [gateway, worker]) await program.ready(() => answers200(`${program.url}/readyz`), 40_000);
  for (const program of [gateway, worker]) {
    program.signal("SIGTERM");
    assert.equal((await program.ended()).code, 0);
  }
});

/** Runs a program to its end: `{code, lines}`, `lines` of its stderr. */
async function ending(name, env, args = []) {
  const program = new Program(`${name}-${(ending.count = (ending.count ?? 0) + 1)}`, binary(name), args, { dir: cluster.dir, env });
  try {
    const { code } = await program.ended(15_000);
    return { code, lines: program.stderr.split("\n").filter(Boolean) };
  } finally {
    await program.kill();
  }
}

test("a bad setting is one line and exit 64", { timeout: 60_000 }, async () => {
  const gateway = { ...cluster.settings(), SIMURGH_JWT_SECRET: "s", SIMURGH_LISTEN: "127.0.0.1:0", SIMURGH_INTERNAL_LISTEN: "127.0.0.1:0" };
  const worker = { ...cluster.settings(), SIMURGH_DYNAMODB_ENDPOINT: cluster.dynamodb.url, SIMURGH_WORKER_LISTEN: "127.0.0.1:0", AWS_REGION: "eu-west-1" };
  for (const [name, env, args, naming] of [
    ["simurgh-gateway", { ...gateway, SIMURGH_LISTEN: "nonsense" }, [], /listen/i],
    ["simurgh-gateway", gateway, ["--listen", "nonsense"], /listen/i],
    ["simurgh-gateway", { ...gateway, SIMURGH_JWT_SECRET: undefined }, [], /jwt/i],
    ["simurgh-gateway", { ...gateway, SIMURGH_RATE_MESSAGES: "many" }, [], /rate.messages/i],
    ["simurgh-gateway", { ...gateway, SIMURGH_DRAIN_WINDOW: "soon" }, [], /drain.window/i],
    ["simurgh-gateway", { ...gateway, SIMURGH_MAX_FRAME_BYTES: "-1" }, [], /frame/i],
    ["simurgh-gateway", { ...gateway, SIMURGH_NATS_URL: "http://x y" }, [], /nats/i],
    ["simurgh-gateway", { ...gateway, SIMURGH_LOG_FORMAT: "xml" }, [], /log.format/i],
    ["simurgh-worker", { ...worker, SIMURGH_WORKER_LISTEN: "nonsense" }, [], /listen/i],
    ["simurgh-worker", { ...worker, SIMURGH_DYNAMODB_ENDPOINT: "not a url" }, [], /dynamodb/i],
    ["simurgh-worker", { ...worker, SIMURGH_CREATE_TABLE: "perhaps" }, [], /create.table/i],
    ["simurgh-worker", { ...worker, SIMURGH_NAMESPACE: "no spaces" }, [], /namespace/i],
  ]) {
    const { code, lines } = await ending(name, env, args);
    const shown = `${name} ${naming}: ${JSON.stringify({ code, lines })}`;
    assert.equal(code, 64, shown);
    assert.equal(lines.length, 1, shown);
    assert.match(lines[0], naming, shown);
  }
});

test("a port in use is one line and exit 1", { timeout: 60_000 }, async () => {
  const taken = new URL(cluster.gateways[0]).host;
  const gateway = { ...cluster.settings(), SIMURGH_JWT_SECRET: "s", SIMURGH_LISTEN: `127.0.0.1:${await freePort()}`, SIMURGH_INTERNAL_LISTEN: `127.0.0.1:${await freePort()}` };
  for (const [name, env] of [
    ["simurgh-gateway", { ...gateway, SIMURGH_LISTEN: taken }],
    ["simurgh-gateway", { ...gateway, SIMURGH_INTERNAL_LISTEN: taken }],
    ["simurgh-worker", { ...cluster.settings(), SIMURGH_DYNAMODB_ENDPOINT: cluster.dynamodb.url, AWS_REGION: "eu-west-1", SIMURGH_WORKER_LISTEN: taken }],
  ]) {
    const { code, lines } = await ending(name, env);
    const shown = `${name}: ${JSON.stringify({ code, lines })}`;
    assert.equal(code, 1, shown);
    assert.equal(lines.length, 1, shown);
    assert.ok(lines[0].includes(taken.split(":")[1]), shown);
  }
});
