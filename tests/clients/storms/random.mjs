// A short run of what `faults.mjs` does for as long as one likes. SIMURGH_TEST_SEED draws a schedule again.

import assert from "node:assert/strict";
import { test } from "node:test";

import { runAlone } from "../chaos/run.mjs";

const seed = Number(process.env.SIMURGH_TEST_SEED ?? Math.floor(Math.random() * 1e9));
const SECONDS = 45;

test(`random faults for ${SECONDS} s: nothing lost, nothing twice, nothing out of order, nobody missing (seed ${seed})`, { timeout: 240_000 }, async (t) => {
  const lines = [];
  const { wrongs, report, dir } = await runAlone({ seed, seconds: SECONDS, longest: 3, log: (line) => lines.push(line) });
  report.forEach((line) => t.diagnostic(line));
  if (wrongs.length > 0) lines.forEach((line) => t.diagnostic(line));
  assert.deepEqual(wrongs.slice(0, 20), [], `again: node tests/clients/faults.mjs --seconds ${SECONDS} --longest 3 --seed ${seed}; logs: ${dir}`);
});
