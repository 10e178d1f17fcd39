// The chat page and the React example in Debian's Chromium: `node tests/browser/run.mjs [--set a|b] [--file PART] [--grep NAME]`
//
//   --set a            against the local stack, where users are chosen by name
//   --set b            against two gateways and two workers on real servers, where tokens are pasted
//                      without --set: both, one after the other; how the page looks and its keys against the first only
//
// Screenshots go to tests/.artefacts/. `SIMURGH_TEST_BIN` is the folder of the programs (target/ci).

import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import path from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { startLocal, startUp } from "../clients/setups.mjs";

const CASES = fileURLToPath(new URL("./cases/", import.meta.url));
/** What no server has a part in: against the first set only. */
const OF_THE_PAGE = ["keyboard.mjs", "looks.mjs"];

const { values: options } = parseArgs({
  options: { set: { type: "string" }, file: { type: "string", default: "" }, grep: { type: "string" } },
});
if (!["a", "b", undefined].includes(options.set)) {
  console.error("usage: run.mjs [--set a|b] [--file PART] [--grep NAME]");
  process.exit(64);
}

let setup;

async function leave(code) {
  await setup?.stop();
  process.exit(code);
}
process.on("SIGINT", () => leave(130));
process.on("SIGTERM", () => leave(143));

/** Runs the cases against one set-up; how many passed and failed. */
async function against(set) {
  setup = set === "a" ? await startLocal() : await startUp();
  process.env.SIMURGH_WALK_GATEWAYS = setup.gateways.join(",");
  process.env.SIMURGH_WALK_SECRET = setup.secret;
  process.env.SIMURGH_BROWSER_SET = set;
  console.log(`set ${set}: ${process.env.SIMURGH_WALK_GATEWAYS}`);
  execFileSync(process.execPath, [fileURLToPath(new URL("../clients/warm.mjs", import.meta.url))], { stdio: "inherit" });
  const wanted = (name) => name.endsWith(".mjs") && name.includes(options.file) && (set === "a" || !OF_THE_PAGE.includes(name));
  const files = readdirSync(CASES).filter(wanted).sort();
  const paths = files.map((name) => path.join(CASES, name));
  const count = { passed: 0, failed: 0 };
  const stream = run({ files: paths, concurrency: 1, testNamePatterns: options.grep && new RegExp(options.grep) });
  stream.on("test:pass", (event) => !paths.includes(event.name) && !event.skip && (count.passed += 1));
  // A file that breaks outside its cases fails as a whole, and that counts too.
  stream.on("test:fail", (event) => event.details?.error?.failureType !== "subtestsFailed" && (count.failed += 1));
  const shown = stream.compose(spec);
  shown.pipe(process.stdout);
  await new Promise((resolve) => shown.on("end", resolve));
  await setup.stop({ keep: count.failed > 0 });
  if (count.failed > 0) console.log(`the servers' logs: ${setup.dir}`);
  setup = undefined;
  return count;
}

const total = { passed: 0, failed: 0 };
try {
  for (const set of options.set ? [options.set] : ["a", "b"]) {
    const { passed, failed } = await against(set);
    total.passed += passed;
    total.failed += failed;
  }
} catch (error) {
  console.error(error.message);
  await leave(1);
}
console.log(`browser: ${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
