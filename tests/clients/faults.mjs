// A crowd of clients through random faults, for as long as you like: `node tests/clients/faults.mjs --seconds 1800 --seed 7`
//
//   --seconds N       for how long faults are injected (60)
//   --seed S          draws the same schedule again (a new one each time)
//   --longest N       the longest that one fault lasts, in s (25)
//   --users N         clients (24), --conversations N (6), --each N members of each (8), --every MS between a user's sends (700)
//   --plan            prints the schedule and ends
//
// Ends with 1 where anything that was promised was not kept, and keeps the servers' logs then.

import { parseArgs } from "node:util";

import { runAlone } from "./chaos/run.mjs";
import { inWords, plan } from "./chaos/schedule.mjs";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 1e9)) },
    longest: { type: "string", default: "25" },
    users: { type: "string", default: "24" },
    conversations: { type: "string", default: "6" },
    each: { type: "string", default: "8" },
    every: { type: "string", default: "700" },
    plan: { type: "boolean", default: false },
  },
});
const { plan: planOnly, ...numbers } = values;
const options = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)]));
if (Object.values(options).some((value) => !Number.isFinite(value) || value < 0)) {
  console.error("every option is a number: see the head of this file");
  process.exit(64);
}

const { seed, seconds, longest, ...crowd } = options;
console.log(`seed ${seed}, ${seconds} s`);
if (planOnly) {
  plan(seed, seconds, { longest }).forEach((fault) => console.log(inWords(fault)));
  process.exit(0);
}
const began = performance.now();
const log = (line) => console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(7)} s  ${line}`);
const { wrongs, report, dir } = await runAlone({ seed, seconds, longest, crowd, log });
console.log(report.join("\n"));
if (wrongs.length > 0) {
  console.log(wrongs.slice(0, 100).join("\n"));
  console.log(`again: node tests/clients/faults.mjs --seconds ${seconds} --seed ${seed}\nlogs: ${dir}`);
}
process.exit(wrongs.length > 0 ? 1 : 0);
