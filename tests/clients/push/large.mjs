// A large conversation whose members are mostly away is no slower to write in than a small one.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";

import { wiredFor } from "../chaos/cluster.mjs";
import { until } from "../wait.mjs";

const file = wiredFor({ before, after }, { gateways: 1, workers: 1 });

const MEMBERS = 1_000;
const MESSAGES = Number(process.env.SIMURGH_TEST_MESSAGES ?? 40);

/** What a program's counter of entries says of an outcome. */
async function entries(outcome) {
  const text = await (await fetch(`${file.cluster.workerPrograms[0].url}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(`simurgh_worker_offline_entries_total{outcome="${outcome}"}`));
  return Number(line?.split(" ")[1] ?? 0);
}

const quantile = (values, at) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * at))];

test("a message to a thousand members who are away is acknowledged like any other", { timeout: 240_000 }, async (t) => {
  const scene = file.scene(t);
  const alice = scene.user("alice");
  const client = await scene.client(alice);
  const took = async (members) => {
    const body = { id: randomUUID(), type: "group", member_ids: Array.from({ length: members - 1 }, (_, n) => scene.user(`m${n}`)) };
    // On a slow machine one of so many takes more than a call: each goes on where the one before ended.
    await until(async () => (await scene.as(alice, "POST", "/api/v1/conversations", body)).status < 300, { timeout: 120_000, what: "the conversation" });
    const { id } = body;
    const channel = await client.join(`conversation:${id}`);
    // The first finds where everybody is.
    await channel.send("first");
    const times = [];
    const before = await entries("kept");
    const began = performance.now();
    for (let n = 0; n < MESSAGES; n += 1) {
      const at = performance.now();
      await channel.send(`m${n}`);
      times.push(performance.now() - at);
    }
    const wanted = MESSAGES * (members - 1);
    await until(async () => (await entries("kept")) - before >= wanted, { timeout: 120_000, what: `${wanted} entries` });
    return { median: quantile(times, 0.5), p99: quantile(times, 0.99), rate: wanted / ((performance.now() - began) / 1000) };
  };
  const small = await took(2);
  const large = await took(MEMBERS);
  const shown = ({ median, p99, rate }) => `median ${median.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, ${Math.round(rate)} entries/s`;
  t.diagnostic(`2 members: ${shown(small)}; ${MEMBERS}: ${shown(large)}`);
  console.log(`2 members: ${shown(small)}; ${MEMBERS}: ${shown(large)}`);
  assert.equal(await entries("dropped"), 0);
  assert.equal(await entries("failed"), 0);
  // Both on a machine that does the entries' work at the same time.
  assert.ok(large.median < 3 * small.median + 30, `${shown(small)}; ${shown(large)}`);
});
