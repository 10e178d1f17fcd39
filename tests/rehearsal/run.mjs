// A rolling deploy and an outage of NATS, rehearsed with stock phoenix.js clients under steady load:
//
//     tests/rehearsal/run [--clients 3000] [--rate 20] [--outage 60] [--from FOLDER]
//
//   --clients N       one socket each, on its own topic and in a conversation of 20 (3000)
//   --rate N          messages a second, over all conversations; each is due at its time whatever happens (20)
//   --calm N          for how many seconds they talk before anything happens (20)
//   --delay D, --window D   the gateways' SIMURGH_DRAIN_DELAY (5s) and SIMURGH_DRAIN_WINDOW (45s)
//   --grace N         how many seconds a process has after SIGTERM (120), then it is killed
//   --outage N        for how many seconds nats-server is away (60)
//   --from FOLDER     the programs that are replaced, where they are another build's: an upgrade
//   --processes N     how many processes the clients are in (one for each 750)
//
// Three gateways and two workers run behind HAProxy with infra/haproxy/haproxy.cfg, on a nats-server and DynamoDB
// Local. Each process is told to end, awaited, started anew where it was, and awaited until it serves. Then nats-server is
// ended and, later, started again. Ends with 1 where anything is not as promised, and keeps the servers' logs then.
// `SIMURGH_TEST_BIN` is the folder of the programs (target/ci). 3,000 clients need `ulimit -n 20000`.

import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { holds, until } from "../clients/wait.mjs";
import { deploy } from "./deployment.mjs";
import { Parts } from "./parts.mjs";
import { Findings, peak, spreadOf } from "./findings.mjs";

const EACH = 20;
const A_PROCESS = 750;
/** Everybody back, and presence true (guarantee 7), after the last change. */
const BACK_MS = 60_000;
const EXIT_USAGE = 64;

function options() {
  const numbers = { clients: "3000", rate: "20", calm: "20", grace: "120", outage: "60", processes: "" };
  const texts = { delay: "5s", window: "45s" };
  const all = Object.fromEntries(Object.entries({ ...numbers, ...texts, from: undefined })
    .map(([name, value]) => [name, { type: "string", default: value }]));
  try {
    const { values } = parseArgs({ options: all });
    values.processes ||= String(Math.ceil(values.clients / A_PROCESS));
    for (const name of Object.keys(numbers)) values[name] = Number(values[name]);
    if (values.from) values.from = path.resolve(values.from);
    const right = Object.keys(numbers).every((name) => values[name] >= 0) && values.clients >= EACH && values.rate > 0 && values.processes >= 1;
    if (right && [values.delay, values.window].every((text) => /^\d+(ms|s)$/.test(text))) return values;
  } catch {
    // What is wrong is said below.
  }
  console.error("usage: tests/rehearsal/run [--clients N] [--rate N] [--outage SECONDS] …: see the head of tests/rehearsal/run.mjs");
  process.exit(EXIT_USAGE);
}

const chosen = options();
const began = performance.now();
const now = () => performance.timeOrigin + performance.now();
const log = (line) => console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(7)} s  ${line}`);
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/** Waits until everybody is in and sees who is there; how long that took, in ms. */
async function whole(parts, findings) {
  const from = performance.now();
  let out;
  const isWhole = async () => {
    out = await parts.state();
    return out.out === 0 && out.ghosts.length === 0;
  };
  await until(isWhole, { timeout: BACK_MS }).catch(() => findings.wrong(`${out.out} clients are not back, and presence is wrong: ${out.ghosts.length} lists, ${out.ghosts.slice(0, 3).join("; ")}`));
  return performance.now() - from;
}

/**
 * Everybody talks while `change` happens, and until all is well again; then all of it is looked at. `change` may answer when
 * it was that something was back.
 */
async function phase(name, { deployment, parts, findings }, change) {
  await parts.talk(chosen.rate);
  const from = now();
  const back = await change();
  const changed = now();
  const healed = await whole(parts, findings);
  const said = await parts.hush();
  // What is still owed from before is acknowledged by now, so the screens can be complete.
  const verdict = await parts.judge();
  // Nobody else was taken for gone meanwhile.
  await whole(parts, findings);
  const happened = await parts.happened();
  const stray = deployment.dead.map(({ name: one, exited }) => `${one} ended: ${JSON.stringify(exited)}`);
  findings.take(name, { verdict, stray });
  // Where something was away, what had waited for it.
  if (back) {
    const after = said.ackedAt.filter((at) => at >= back).map((at) => at - back);
    log(`acknowledged again ${seconds(Math.min(...after))} after it was back, all that had waited ${seconds(Math.max(...after))} after it was`);
  }
  const within = (times) => times.filter((at) => at >= from);
  console.log([
    `${name}: lost ${verdict.lost}, duplicated ${verdict.duplicated}, out of order ${verdict.misplaced}`,
    `  ${said.sent} messages in ${seconds(changed - from)} and until all was well, ${said.again} pushed more than once; ${said.seen.length} deliveries`,
    `  acknowledged, retries included: ${spreadOf(said.acked)}`,
    `  on the others' screens: ${spreadOf(said.seen)}`,
    `  a push's answer on a live socket: longest ${Math.round(verdict.longestMs)} ms (the clients' own processes lagged by up to ${Math.round(verdict.lagMs)} ms); refusals ${JSON.stringify(happened.refusals)}`,
    `  sockets closed: ${JSON.stringify(counts(happened.closes.map(({ code }) => code)))}; opened: ${within(happened.opens).length}, at most ${peak(happened.opens)} in a second; connects that failed: ${happened.failures}`,
    `  joins: ${within(happened.joins).length}, at most ${peak(happened.joins)} in a second; everybody in and presence true ${seconds(healed)} after the last change`,
    `  load of the machine: ${loadavg()[0].toFixed(1)} on ${cpus().length} cores`,
  ].join("\n"));
  return happened;
}

function counts(list) {
  const found = {};
  for (const one of list) found[one] = (found[one] ?? 0) + 1;
  return found;
}

async function rollingDeploy({ deployment, findings }) {
  for (const program of [...deployment.gatewayPrograms, ...deployment.workerPrograms]) {
    const { name, sessions, ended, endMs, readyMs } = await deployment.replace(program, { grace: chosen.grace * 1000 });
    const had = sessions === undefined ? "" : `, had ${sessions} connections`;
    log(`${name}${had}: ended ${seconds(endMs)} after SIGTERM, its successor served ${seconds(readyMs)} later`);
    if (ended.code !== 0) findings.wrong(`${name} did not end by itself: ${JSON.stringify(ended)}`);
  }
}

async function outage({ deployment, findings }) {
  const { nats } = deployment;
  await nats.kill();
  log(`nats-server ended`);
  await holds(() => deployment.dead.length === 0, chosen.outage * 1000, "gateways, workers and HAProxy to live on").catch((error) => findings.wrong(error.message));
  nats.spawn();
  await nats.ready(nats.serves);
  log(`nats-server serves again`);
  return now();
}

/** They just talk; what a message costs at the store, with all that is asked of it meanwhile. */
async function calm({ deployment }) {
  const before = await deployment.units();
  await new Promise((resolve) => setTimeout(resolve, chosen.calm * 1000));
  const after = await deployment.units();
  const messages = chosen.rate * chosen.calm;
  const each = (unit) => ((after[unit] - before[unit]) / messages).toFixed(2);
  log(`the store's units a message, at ${chosen.rate} a second: ${each("write")} write, ${each("read")} read`);
}

async function rehearse(set) {
  const { deployment, parts, findings } = set;
  const gathered = performance.now();
  await parts.gather();
  await whole(parts, findings);
  await parts.happened();
  log(`${chosen.clients} clients are in after ${seconds(performance.now() - gathered)}; connections by gateway: ${(await deployment.servers()).map(({ sessions }) => sessions).join(", ")}`);

  await phase("at rest", set, () => calm(set));
  const rolled = await phase("rolling deploy", set, () => rollingDeploy(set));
  const others = rolled.closes.filter(({ code }) => code !== 1012);
  if (others.length > 0) findings.wrong(`${others.length} sockets were closed otherwise than with 1012: ${JSON.stringify(counts(others.map(({ code }) => code)))}`);
  if (rolled.closes.length < chosen.clients) findings.wrong(`only ${rolled.closes.length} sockets were moved: not each gateway was replaced`);

  if (chosen.outage > 0) {
    const away = await phase(`nats-server away for ${chosen.outage} s`, set, () => outage(set));
    if (away.closes.length + away.opens.length > 0) findings.wrong(`${away.closes.length} sockets were closed and ${away.opens.length} opened while nats-server was away`);
  }
}

async function main() {
  const haproxy = execFileSync("haproxy", ["-v"], { encoding: "utf8" }).split(" ")[2];
  log(`3 gateways and 2 workers behind HAProxy ${haproxy}; ${cpus().length} cores, load ${loadavg()[0].toFixed(1)}; drain delay ${chosen.delay}, window ${chosen.window}`);
  const findings = new Findings();
  const deployment = await deploy({ folder: chosen.from, drain: { delay: chosen.delay, window: chosen.window } });
  let parts;
  const end = async (keep) => {
    parts?.end();
    await deployment.stop({ keep });
  };
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]]) process.on(signal, () => end(false).then(() => process.exit(code)));
  try {
    parts = new Parts(deployment, { clients: chosen.clients, each: EACH, processes: chosen.processes });
    await rehearse({ deployment, parts, findings });
  } catch (error) {
    findings.wrong(error.stack);
  }
  const wrong = findings.wrongs.length > 0;
  await end(wrong);
  console.log(wrong ? `NOT as promised:\n${findings.wrongs.slice(0, 40).join("\n")}\nlogs: ${deployment.dir}` : "all as promised");
  return wrong ? 1 : 0;
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);
