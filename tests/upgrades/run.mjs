// Gateways and workers of this build beside those of another revision: the walk of that revision is played on each mix.
//
//     tests/upgrades/run [REVISION] [--file PART]
//
// REVISION is built by tests/upgrades/build; without one it is the release before this (the latest tag v*). Its own walk is
// what was promised then, and has to hold while it is being replaced: its central cases, not those of limits, which a busy machine
// makes late. `--file` plays only files whose path contains PART.
// `SIMURGH_TEST_BIN` is the folder of this build's programs (target/ci).

import { execFileSync, spawnSync } from "node:child_process";
import path from "node:path";
import { parseArgs } from "node:util";

import { ROOT } from "../clients/processes.mjs";
import { Cluster, startCluster } from "../clients/setups.mjs";

const EXIT_USAGE = 64;
const OLD = "old";
const NEW = "new";

/** The walk's files that are played. */
const CENTRAL = ["activity", "conversations", "members", "messages", "presence", "refusals", "revocation"];

/** Which builds run at a time. Workers first is how it is done; what else can happen has to work as well. */
const MIXES = [
  { what: "old gateways, new workers", gateways: [OLD, OLD], workers: [NEW, NEW] },
  { what: "new gateways, old workers", gateways: [NEW, NEW], workers: [OLD, OLD] },
  { what: "one of each", gateways: [OLD, NEW], workers: [OLD, NEW] },
  { what: "one of each, by long poll", gateways: [OLD, NEW], workers: [OLD, NEW], options: ["--longpoll"], files: ["conversations", "messages"] },
];

function usage(text) {
  console.error(`${text}\nusage: tests/upgrades/run [REVISION] [--file PART]`);
  process.exit(EXIT_USAGE);
}

function options() {
  try {
    const { values, positionals } = parseArgs({ options: { file: { type: "string", default: "" } }, allowPositionals: true });
    if (positionals.length <= 1) return { ...values, revision: positionals[0] };
  } catch {
    // What is wrong is said below.
  }
  return usage("there is one revision, and one option");
}

/** The latest release that this build is not itself. */
function release() {
  const git = spawnSync("git", ["describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^"], { cwd: ROOT, encoding: "utf8" });
  if (git.status !== 0) usage("there is no release before this one: name a revision");
  return git.stdout.trim();
}

/** Gateways and workers of the named builds, each of whose programs is in `folders[name]`. */
async function startMix({ gateways, workers }, folders) {
  const cluster = await startCluster({ gateways: 0, workers: 0, Kind: Cluster });
  try {
    // One after the other: so the walk's turns find them in this order.
    for (const build of workers) await cluster.startWorker({ folder: folders[build] });
    for (const build of gateways) await cluster.startGateway({ folder: folders[build] });
  } catch (error) {
    await cluster.stop({ keep: true });
    throw error;
  }
  return cluster;
}

/** Plays the walk; true where all of it passed. */
async function play(mix, folders, file) {
  console.log(`==> ${mix.what}`);
  const cluster = await startMix(mix, folders);
  const walk = path.join(folders.old, "tests/clients/run.mjs");
  const played = (mix.files ?? CENTRAL).filter((name) => `/walk/${name}.mjs`.includes(file)).map((name) => {
    const args = [walk, "--gateways", cluster.gateways.join(","), "--secret", cluster.secret, "--file", `/walk/${name}.mjs`, ...(mix.options ?? [])];
    return spawnSync(process.execPath, args, { stdio: "inherit" }).status === 0;
  });
  // A build that does not know what the other says, says so; this is what nobody may have had to say.
  const unread = cluster.all.flatMap((program) => `${program.stdout}${program.stderr}`.split("\n")
    .filter((line) => /cannot read|could not be read|cannot be read|is newer than/.test(line))
    .map((line) => `${program.name}: ${line}`));
  unread.slice(0, 20).forEach((line) => console.log(line));
  const passed = played.length > 0 && played.every(Boolean) && unread.length === 0;
  await cluster.stop({ keep: !passed });
  console.log(`<== ${mix.what}: ${passed ? "ok" : `FAILED; logs: ${cluster.dir}`}`);
  return passed;
}

const { revision = release(), file } = options();
const built = execFileSync(path.join(ROOT, "tests/upgrades/build"), [revision], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
const folders = { old: built.trim(), new: undefined };
let failed = 0;
for (const mix of MIXES) if (!(await play(mix, folders, file))) failed += 1;
console.log(`${revision} beside this build: ${MIXES.length - failed} mixes passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
