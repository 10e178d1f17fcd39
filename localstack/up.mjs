// Gateways and workers as processes of their own, on a real nats-server and DynamoDB Local, without Docker:
//
//     localstack/up [--gateways 2] [--workers 2] [--json]
//
// Everything listens on free ports of 127.0.0.1, and nothing is kept. Ctrl-C stops it all; so does the end of any one
// of them, which is then named. `--json` prints one line for programs instead of what is for people. Settings of
// gateways and workers (SIMURGH_LOG, SIMURGH_RATE_MESSAGES, …) are taken from the environment. The programs are those
// in target/release or, where there are none, target/ci; `SIMURGH_TEST_BIN` names another folder.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { binary, natsUrl } from "../tests/clients/processes.mjs";
import { startCluster } from "../tests/clients/setups.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** How long a process may take to end by itself, in ms: who presses Ctrl-C does not wait for a long drain. */
const GRACE = 3000;
const EXIT_USAGE = 64;
/** Where the parts find each other is for this program to say. */
const OWN = ["SIMURGH_NATS_URL", "SIMURGH_NATS_CREDS", "SIMURGH_NATS_CA", "SIMURGH_DYNAMODB_ENDPOINT", "SIMURGH_JWT_SECRET"];

function options() {
  try {
    const { values } = parseArgs({
      options: {
        gateways: { type: "string", default: "2" },
        workers: { type: "string", default: "2" },
        json: { type: "boolean", default: false },
      },
    });
    const [gateways, workers] = [values.gateways, values.workers].map(Number);
    if ([gateways, workers].every((count) => Number.isInteger(count) && count >= 1 && count <= 50)) {
      return { ...values, gateways, workers };
    }
  } catch {
    // What is wrong is said below.
  }
  console.error("usage: localstack/up [--gateways 1..50] [--workers 1..50] [--json]");
  process.exit(EXIT_USAGE);
}

/** The settings of the environment that reach the gateways and workers. */
function settings() {
  const ours = ([name]) => name.startsWith("SIMURGH_") && !name.startsWith("SIMURGH_TEST_") && !OWN.includes(name);
  return { SIMURGH_DEMO_PAGE: "true", ...Object.fromEntries(Object.entries(process.env).filter(ours)) };
}

function choosePrograms() {
  const built = ["release", "ci"].map((profile) => path.join(ROOT, "target", profile));
  const there = built.find((folder) => existsSync(path.join(folder, "simurgh-gateway")));
  if (!process.env.SIMURGH_TEST_BIN && !there) {
    console.error("no programs in target/release: cargo build --release --workspace --bins");
    process.exit(1);
  }
  process.env.SIMURGH_TEST_BIN ??= there;
}

function token(user, secret) {
  const env = { SIMURGH_JWT_SECRET: secret };
  return execFileSync(binary("simurgh"), ["token", user, "--ttl", "24h"], { env, encoding: "utf8" }).trim();
}

function banner(cluster, took) {
  const list = (name, urls) => urls.map((url, n) => `  ${(n === 0 ? name : "").padEnd(10)}${url}`).join("\n");
  const tokens = ["alice", "bob", "carol"].map((user) => `  ${user.padEnd(10)}${token(user, cluster.secret)}`);
  return [
    `\nSimurgh is up (${took.toFixed(1)} s). Ctrl-C stops it.\n`,
    list("chat", cluster.gateways.map((url) => `${url}/`)),
    list("services", cluster.gatewayPrograms.map(({ internal }) => internal)),
    list("workers", cluster.workerPrograms.map(({ url }) => url)),
    list("NATS", ["gateway", "worker", "push"].map((role) => natsUrl(cluster.nats.port, role))),
    list("DynamoDB", [cluster.dynamodb.url]),
    list("logs", [`${cluster.dir} (gone when it stops)`]),
    "\nTokens, good for 24 h, to paste into the chat page:\n",
    ...tokens,
    `\nOthers: ${path.relative("", binary("simurgh"))} token USER\n`,
  ].join("\n");
}

/** For programs: public addresses, the tokens' secret, process ids by name, the folder of the logs. */
function line({ gateways, secret, all, dir }) {
  return JSON.stringify({ gateways, secret, processes: Object.fromEntries(all.map(({ name, pid }) => [name, pid])), dir });
}

const { gateways, workers, json } = options();
choosePrograms();

let cluster;
let stopping = false;

/** Ends every process, each by its own id, and then this one. */
async function stop(code, { keep = false } = {}) {
  stopping = true;
  // What the others need goes last: they take leave of it.
  const clients = [...(cluster?.gatewayPrograms ?? []), ...(cluster?.workerPrograms ?? [])];
  await Promise.all(clients.map((program) => program.stop(GRACE)));
  await cluster?.stop({ keep });
  process.exit(code);
}

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]]) {
  process.on(signal, () => {
    // Before everything runs there is nothing to take leave of; and a second Ctrl-C waits for nobody.
    if (stopping) for (const program of cluster?.all ?? []) program.signal("SIGKILL");
    else stop(code);
  });
}

const began = performance.now();
try {
  await startCluster({ gateways, workers, env: settings(), detached: true, known: (one) => (cluster = one) });
} catch (error) {
  if (!stopping) {
    console.error(error.message);
    process.exit(1);
  }
}
if (!stopping) {
  console.log(json ? line(cluster) : banner(cluster, (performance.now() - began) / 1000));
  const { program, code, signal } = await Promise.race(
    cluster.all.map(async (one) => ({ program: one, ...(await one.exit) })),
  );
  if (!stopping) {
    console.error(`${program.name} (process ${program.pid}) ended with ${signal ?? `code ${code}`}: all others are stopped`);
    console.error(program.stderr.trimEnd().split("\n").slice(-5).join("\n"));
    console.error(`logs: ${cluster.dir}`);
    await stop(1, { keep: true });
  }
}
