// The local stack as a program: its tokens, its folder, its end.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { Program, binary, freePort } from "../processes.mjs";
import { scratch, startLocal } from "../setups.mjs";
import { Scene } from "../support.mjs";
import { until } from "../wait.mjs";

const JWT = /\beyJ[\w-]+\.[\w-]+\.[\w-]+\b/g;

/** The claims of a token signed with the local stack's secret. */
function claims(jwt) {
  const [header, body, signature] = jwt.split(".");
  assert.equal(createHmac("sha256", "dev-secret").update(`${header}.${body}`).digest("base64url"), signature);
  return JSON.parse(Buffer.from(body, "base64url"));
}

/** A stack of its own in a folder that goes with the test. */
async function local(t, options = {}) {
  const dir = options.dir ?? scratch();
  const stack = await startLocal({ ...options, dir });
  t.after(() => stack.stop());
  return stack;
}

test("it prints its address and tokens for alice, bob and carol that work", { timeout: 60_000 }, async (t) => {
  const stack = await local(t);
  // It prints once it is ready, which a caller may see first.
  await until(() => (stack.program.stdout.match(JWT) ?? []).length >= 3, { what: "the tokens" });
  const { stdout } = stack.program;
  assert.ok(stdout.includes(new URL(stack.gateways[0]).port), stdout);
  const tokens = Object.fromEntries((stdout.match(JWT) ?? []).map((jwt) => [claims(jwt).sub, jwt]));
  assert.deepEqual(Object.keys(tokens).sort(), ["alice", "bob", "carol"]);
  const scene = new Scene(stack.gateways);
  t.after(() => scene.close());
  for (const [user, jwt] of Object.entries(tokens)) {
    const own = await (await scene.client(user, { token: () => jwt })).joinOwn();
    assert.equal(own.reply.user_id, user);
  }
});

test("`token` makes others", { timeout: 60_000 }, async (t) => {
  const dir = scratch();
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  for (const [n, args, seconds, scope] of [[1, [], null, undefined], [2, ["--ttl", "90s"], 90, undefined], [3, ["--service"], null, "service"]]) {
    const program = new Program(`token-${n}`, binary("simurgh"), ["token", "dave", ...args], { dir });
    assert.equal((await program.ended()).code, 0, program.stderr);
    assert.match(program.stdout, /^\S+\n$/, "nothing but the token");
    const claimed = claims(program.stdout.trim());
    assert.equal(claimed.sub, "dave");
    assert.equal(claimed.scope?.split(" ").includes("service") || undefined, scope && true);
    const left = claimed.exp - Date.now() / 1000;
    assert.ok(left > 30 && (seconds === null || Math.abs(left - seconds) < 20), `${left} s`);
  }
});

test("what was sent is there after a restart, and a signal ends it with 0", { timeout: 60_000 }, async (t) => {
  const dir = scratch();
  const stack = await local(t, { dir });
  const scene = new Scene(stack.gateways);
  t.after(() => scene.close());
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const id = await scene.group([alice, bob], { title: "kept" });
  const [a] = await scene.joined([alice], id);
  const sent = await a.send("kept");
  await a.push("add_reaction", { message_id: sent.message_id, reaction: "👍" });
  const raw = await scene.raw(bob);
  stack.program.signal("SIGINT");
  assert.deepEqual(await raw.ended(), { code: 1012, reason: "service_restart" });
  assert.deepEqual(await stack.program.ended(), { code: 0, signal: null });

  const again = await local(t, { dir });
  const later = new Scene(again.gateways);
  t.after(() => later.close());
  const { body } = await later.as(bob, "GET", `/api/v1/conversations/${id}/messages`);
  assert.deepEqual(body.messages.map(({ id: message, content, reactions }) => [message, content, reactions]), [
    [sent.message_id, "kept", { "👍": [alice] }],
  ]);
  again.program.signal("SIGTERM");
  assert.deepEqual(await again.program.ended(), { code: 0, signal: null });
});

test("killed without a word, it has what it acknowledged", { timeout: 60_000 }, async (t) => {
  const dir = scratch();
  const stack = await local(t, { dir });
  const scene = new Scene(stack.gateways);
  t.after(() => scene.close());
  const alice = scene.user("alice");
  const id = await scene.group([alice]);
  const [a] = await scene.joined([alice], id);
  const replies = await Promise.all(Array.from({ length: 10 }, (_, n) => a.send(`m${n}`)));
  await stack.program.kill();
  const again = await local(t, { dir });
  const later = new Scene(again.gateways);
  const { body } = await later.as(alice, "GET", `/api/v1/conversations/${id}/messages`);
  const wanted = replies.sort((x, y) => x.seq - y.seq).map(({ message_id }) => message_id);
  assert.deepEqual(body.messages.map(({ id: message }) => message), wanted);
});

test("a second interrupt ends it at once", { timeout: 60_000 }, async (t) => {
  const stack = await local(t, { env: { SIMURGH_DRAIN_WINDOW: "30s", SIMURGH_DRAIN_DELAY: "30s" } });
  stack.program.signal("SIGINT");
  await until(async () => (await fetch(`${stack.gateways[0]}/readyz`)).status === 503, { what: "the drain to begin" });
  stack.program.signal("SIGINT");
  await stack.program.ended(2000);
});

test("several workers run in one process, and nothing is on disk when told so", { timeout: 60_000 }, async (t) => {
  const stack = await local(t, { env: { SIMURGH_WORKERS: "2", SIMURGH_EPHEMERAL: "true" } });
  const scene = new Scene(stack.gateways);
  t.after(() => scene.close());
  const alice = scene.user("alice");
  const [a] = await scene.joined([alice], await scene.group([alice]));
  assert.equal((await a.send("hello")).seq, 1);
  assert.ok(!existsSync(path.join(stack.dir, "data")), "no data folder");
});

test("a bad setting is one line and exit 64, a port in use one line and exit 1, --help lists all settings", { timeout: 60_000 }, async (t) => {
  const dir = scratch();
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const stack = await local(t);
  const ports = async () => ({
    SIMURGH_LISTEN: `127.0.0.1:${await freePort()}`, SIMURGH_INTERNAL_LISTEN: `127.0.0.1:${await freePort()}`,
    SIMURGH_WORKER_LISTEN: `127.0.0.1:${await freePort()}`, SIMURGH_DATA_DIR: path.join(dir, "data"),
  });
  const taken = new URL(stack.gateways[0]).host;
  let n = 0;
  for (const [env, code] of [
    [{ SIMURGH_LISTEN: "nonsense" }, 64], [{ SIMURGH_WORKERS: "none" }, 64], [{ SIMURGH_BACKPLANE: "pigeons" }, 64],
    [{ SIMURGH_RATE_JOINS: "1/2/3" }, 64], [{ SIMURGH_LISTEN: taken }, 1], [{ SIMURGH_WORKER_LISTEN: taken }, 1],
  ]) {
    const program = new Program(`bad-${(n += 1)}`, binary("simurgh"), [], { dir, env: { ...(await ports()), ...env } });
    t.after(() => program.kill());
    const ended = await program.ended();
    const lines = program.stderr.split("\n").filter(Boolean);
    const shown = JSON.stringify({ env, ended, lines });
    assert.equal(ended.code, code, shown);
    assert.equal(lines.length, 1, shown);
  }
  for (const name of ["simurgh", "simurgh-gateway", "simurgh-worker"]) {
    const program = new Program(`${name}-help`, binary(name), ["--help"], { dir });
    assert.equal((await program.ended()).code, 0);
    assert.match(program.stdout, /SIMURGH_LOG/);
    assert.match(program.stdout, name === "simurgh-worker" ? /SIMURGH_TABLE/ : /SIMURGH_LISTEN/);
  }
});
