// `localstack/up`: what it starts, and how it ends.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startUp } from "../setups.mjs";
import { http } from "../support.mjs";

async function up(t, env) {
  const setup = await startUp({ env });
  t.after(() => setup.stop());
  return setup;
}

function runs(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    assert.equal(error.code, "ESRCH");
    return false;
  }
}

const left = ({ processes }) => Object.entries(processes).filter(([, pid]) => runs(pid));

test("two gateways serve the chat page, beside two workers, a broker and a store", { timeout: 90_000 }, async (t) => {
  const setup = await up(t);
  t.diagnostic(`both serve after ${Math.round(setup.startMs)} ms`);
  assert.equal(setup.gateways.length, 2);
  for (const gateway of setup.gateways) {
    const page = await http(gateway, "GET", "/");
    assert.equal(page.status, 200);
    assert.match(page.headers.get("content-type"), /^text\/html/);
  }
  const kinds = Object.keys(setup.processes).map((name) => name.replace(/-\d+$/, "")).sort();
  assert.deepEqual(kinds, ["dynamodb-local", "gateway", "gateway", "nats-server", "worker", "worker"]);
  assert.equal(left(setup).length, 6);
});

test("Ctrl-C ends every process, and a setting from the environment holds until then", { timeout: 90_000 }, async (t) => {
  const setup = await up(t, { SIMURGH_DEMO_PAGE: "false" });
  assert.equal((await http(setup.gateways[0], "GET", "/")).status, 404);
  setup.program.signal("SIGINT");
  assert.deepEqual(await setup.program.ended(), { code: 130, signal: null });
  assert.deepEqual(left(setup), []);
});

test("where one dies all are ended, and it is named", { timeout: 90_000 }, async (t) => {
  const setup = await up(t);
  const [name, pid] = Object.entries(setup.processes).find(([one]) => one.startsWith("worker-"));
  process.kill(pid, "SIGKILL");
  assert.deepEqual(await setup.program.ended(), { code: 1, signal: null });
  assert.match(setup.program.stderr, new RegExp(`^${name} \\(process ${pid}\\) ended with SIGKILL`));
  assert.deepEqual(left(setup), []);
});
