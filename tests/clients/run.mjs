// Runs the walk: `node tests/clients/run.mjs --set a|b|faults|others|grpc|push [--grep NAME] [--file PART]`
//
//   --set a            the local stack, started here, and how its programs start and end
//   --set b            two gateways and two workers on a broker and DynamoDB Local, as `localstack/up` starts them
//   --set faults       no walk: what dies, freezes, is cut off or behaves badly, each on servers of its own
//   --set others       no walk: clients by other authors, as `tests/run --only clients` sets them up
//   --set grpc         no walk: the gRPC API, by a client in Python that `tests/run --only grpc` sets up
//   --set push         no walk: the example of a push service, in Python, that `tests/run --only push` sets up
//   --gateways U,U     servers that already run, by their public addresses (`--secret` is theirs, or dev-secret)
//   --longpoll         the official client speaks by long poll, each request to the next gateway
//   --phoenix NAME     phoenix.js in another version: phoenix-1.7
//   --grep NAME        only cases whose name matches this expression
//   --file PART        only files whose path contains this
//
// `SIMURGH_TEST_BIN` is the folder of the programs (target/ci), `SIMURGH_WALK_KEEP=1` keeps every server's logs.
// Each file of the walk is a process of its own, and can be run alone against running servers:
//   SIMURGH_WALK_GATEWAYS=http://127.0.0.1:4000 node --test tests/clients/walk/messages.mjs

import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import path from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { startLocal, startUp } from "./setups.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));

const { values: options } = parseArgs({
  options: {
    set: { type: "string" },
    gateways: { type: "string" },
    secret: { type: "string", default: "dev-secret" },
    grep: { type: "string" },
    phoenix: { type: "string" },
    longpoll: { type: "boolean", default: false },
    file: { type: "string", default: "" },
  },
});
if (!["a", "b", "faults", "others", "grpc", "push", undefined].includes(options.set) || !options.set === !options.gateways) {
  console.error("usage: run.mjs (--set a|b|faults|others|grpc|push | --gateways URL,URL [--secret S]) [--longpoll] [--phoenix NAME] [--grep NAME] [--file PART]");
  process.exit(64);
}

function files(folder) {
  const found = readdirSync(path.join(HERE, folder)).filter((name) => name.endsWith(".mjs")).sort();
  return found.map((name) => path.join(HERE, folder, name)).filter((file) => file.includes(options.file));
}

/** How long a file may take: a process that does not end by then is ended, and failed. */
const FILE_MS = 600_000;

/** Runs files as processes; the numbers of cases that passed and failed. */
async function play(paths, concurrency) {
  const count = { passed: 0, failed: 0 };
  if (paths.length === 0) return count;
  const stream = run({ files: paths, concurrency, timeout: FILE_MS, testNamePatterns: options.grep && new RegExp(options.grep) });
  const leaf = (event) => event.details?.type !== "suite" && !paths.includes(event.name);
  stream.on("test:pass", (event) => leaf(event) && !event.skip && (count.passed += 1));
  // A file that breaks outside its cases fails as a whole, and that must count too.
  stream.on("test:fail", (event) => (leaf(event) || event.details?.error?.failureType !== "subtestsFailed") && (count.failed += 1));
  const shown = stream.compose(spec);
  shown.pipe(process.stdout);
  await new Promise((resolve) => shown.on("end", resolve));
  return count;
}

async function main() {
  // These are about the programs, or name their transport themselves.
  const shared = ["faults", "others", "grpc", "push"].includes(options.set) ? [] : options.longpoll || options.phoenix ? files("walk") : [...files("walk"), ...files("conformance")];
  let setup;
  const leave = async (code) => {
    await setup?.stop();
    process.exit(code);
  };
  process.on("SIGINT", () => leave(130));
  process.on("SIGTERM", () => leave(143));

  const total = { passed: 0, failed: 0 };
  const add = ({ passed, failed }) => {
    total.passed += passed;
    total.failed += failed;
  };
  if (shared.length > 0) {
    if (options.set === "a") setup = await startLocal();
    if (options.set === "b") setup = await startUp();
    process.env.SIMURGH_WALK_GATEWAYS = options.gateways ?? setup.gateways.join(",");
    if (options.longpoll) process.env.SIMURGH_WALK_TRANSPORT = "longpoll";
    if (options.phoenix) process.env.SIMURGH_WALK_PHOENIX = options.phoenix;
    process.env.SIMURGH_WALK_SECRET = setup?.secret ?? options.secret;
    console.log(`gateways: ${process.env.SIMURGH_WALK_GATEWAYS}`);
    if (setup?.startMs) console.log(`ready after ${Math.round(setup.startMs)} ms`);
    execFileSync(process.execPath, [path.join(HERE, "warm.mjs")], { stdio: "inherit" });
    add(await play(shared, 4));
    await setup?.stop({ keep: total.failed > 0 });
    if (setup && total.failed > 0) console.log(`the servers' logs: ${setup.dir}`);
    setup = undefined;
  }
  // These start, stop and kill programs of their own; one at a time where they measure.
  if (options.set === "a" && !options.longpoll) add(await play(files("programs"), 1));
  if (options.set === "faults") {
    add(await play(files("faults"), 4));
    add(await play(files("storms"), 1));
  }
  if (["others", "grpc", "push"].includes(options.set)) add(await play(files(options.set), 1));
  console.log(`walk: ${total.passed} passed, ${total.failed} failed`);
  return total.failed > 0 || total.passed === 0 ? 1 : 0;
}

main().then(
  // What was said goes out first: a pipe takes it by and by.
  (code) => process.stdout.write("", () => process.exit(code)),
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);
