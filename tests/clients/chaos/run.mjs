// One run: a crowd talks through a storm of faults; afterwards everything that was promised is looked at.

import { monitorEventLoopDelay } from "node:perf_hooks";

import { until } from "../wait.mjs";
import { Chance } from "./chance.mjs";
import { Balancer, startWired } from "./cluster.mjs";
import { Crowd } from "./crowd.mjs";
import { healing, spread, table } from "./figures.mjs";
import { LEAVES_PRESENCE } from "./kinds.mjs";
import { Storm, inWords, plan } from "./schedule.mjs";
import { history, judgeLog, judgeReactions, judgeScreen } from "./verdict.mjs";

/** How long a machine under load may take for itself beyond what the contract says. */
const SLACK_MS = 1000;
/** After the last fault: presence (guarantee 7), and the rarest look at a log (guarantee 3). */
const PRESENCE_MS = 5000;
const LEASE_MS = 20_000;
const LOOK_MS = 35_000;

/** Runs it; answers `{wrongs, report}`, a line each. The cluster is left to the caller. */
export async function run({ cluster, seed, seconds, crowd: size, longest, log = () => {} }) {
  const chance = new Chance(seed);
  const faults = plan(seed, seconds, { longest });
  faults.forEach((fault) => log(inWords(fault)));
  const balancer = await new Balancer(cluster, chance.fork()).start();
  const crowd = new Crowd(cluster, balancer, chance.fork(), size);
  const storm = new Storm(cluster, faults, chance.fork(), log);
  const lag = monitorEventLoopDelay({ resolution: 20 });
  lag.enable();
  try {
    await crowd.gather();
    let over = false;
    const talks = Promise.all(crowd.members.map((member) => member.talk(() => over)));
    talks.catch(() => {});
    await storm.rage();
    const healed = performance.now();
    log("every fault has ended");
    const wrongs = await converge(crowd, storm, healed);
    over = true;
    await talks;
    // An answer is seen as late as this process gets to see it.
    wrongs.push(...await judge(cluster, crowd, SLACK_MS + lag.max / 1e6));
    return { wrongs, report: report(cluster, crowd, storm, healed, wrongs) };
  } finally {
    lag.disable();
    balancer.stop();
    await crowd.leave();
  }
}

/** While they go on talking: everybody comes back, and sees who is there. */
async function converge(crowd, storm, healed) {
  const wrongs = [];
  const wait = async (condition, timeout, what) => {
    try {
      await until(condition, { timeout, what });
    } catch (error) {
      wrongs.push(error.message);
    }
    return performance.now() - healed;
  };
  crowd.backMs = await wait(() => crowd.allIn, 30_000, () => `everybody to be back: ${crowd.members.filter((m) => !m.isIn).map((m) => m.user)} are not`);
  const leaseUntil = Math.max(0, ...storm.struck.filter(({ kind }) => LEAVES_PRESENCE.has(kind)).map(({ ended }) => ended)) + LEASE_MS;
  const patience = Math.max(PRESENCE_MS, leaseUntil - performance.now()) + SLACK_MS;
  crowd.presenceMs = await wait(() => crowd.ghosts().length === 0, patience, () => `presence to be true: ${crowd.ghosts().slice(0, 10).join("; ")} (${crowd.ghosts().length})`);
  return wrongs;
}

/** Once all is said: what is stored, and what each screen shows. */
async function judge(cluster, crowd, slackMs) {
  const lines = crowd.members.flatMap(({ wrongs }) => wrongs);
  const total = { stored: 0, lost: 0, duplicated: 0, misplaced: 0, sureReactions: 0 };
  const add = (verdict) => {
    for (const what of ["lost", "duplicated", "misplaced"]) total[what] += verdict[what];
    lines.push(...verdict.lines);
  };
  const quiet = performance.now();
  for (const [id, [user]] of crowd.conversations) {
    const stored = await history(cluster.gateways[0], user, id);
    const screens = crowd.screens.filter((screen) => screen.id === id);
    const behind = () => screens.filter((screen) => screen.last < stored.length);
    const left = Math.max(0, quiet + LOOK_MS - performance.now());
    await until(() => behind().length === 0, { timeout: left }).catch(() => {});
    // Reactions come again in their latest form with the same look at the log.
    const agrees = () => screens.every((screen) => judgeScreen(screen, stored).lines.length === screen.wrongs.length);
    await until(agrees, { timeout: Math.max(0, quiet + LOOK_MS - performance.now()) }).catch(() => {});
    add(judgeLog(id, stored, crowd.sends.filter(({ conversation }) => conversation === id)));
    screens.forEach((screen) => add(judgeScreen(screen, stored)));
    const reactions = judgeReactions(stored, crowd.members.flatMap(({ reacted }) => [...reacted.values()]));
    lines.push(...reactions.lines);
    total.sureReactions += reactions.sure;
    total.stored += stored.length;
  }
  crowd.settledMs = performance.now() - quiet;
  lines.push(...crowd.answers.wrongs((...span) => cluster.frozenFor(...span), slackMs));
  const strange = crowd.answers.closes.filter(({ code }) => ![1000, 1005, 1006, 1012].includes(code));
  lines.push(...strange.map(({ code, gateway }) => `a socket of ${gateway} was closed with ${code}`));
  crowd.total = total;
  return lines;
}

function report(cluster, crowd, storm, healed, wrongs) {
  const { sends, total, answers } = crowd;
  const began = storm.struck[0]?.began ?? healed;
  const times = sends.filter((send) => send.acked >= began && send.began <= healed).map((send) => send.acked - send.began);
  const retried = sends.filter(({ attempts }) => attempts > 1).length;
  const lost = [...cluster.gatewayPrograms, ...cluster.workerPrograms].reduce((sum, { nats }) => sum + nats.lost, 0);
  return [
    `faults injected: ${storm.struck.length}; requests to the store that met one: ${JSON.stringify(cluster.store.injected)}; broadcasts lost: ${lost}`,
    `messages sent: ${sends.length}, ${retried} of them pushed more than once; stored: ${total.stored}`,
    `lost: ${total.lost}, duplicated: ${total.duplicated}, out of order: ${total.misplaced}, on ${crowd.screens.length} screens, ${crowd.screens.reduce((sum, { joins }) => sum + joins, 0)} joins`,
    `reactions whose last state is sure: ${total.sureReactions}`,
    `acknowledged during faults, retries included: ${spread(times)}`,
    `a push's answer on a live socket: longest ${Math.round(answers.longest((...span) => cluster.frozenFor(...span)))} ms; refusals: ${JSON.stringify(answers.refusals())}`,
    `after the last fault: everybody back after ${Math.round(crowd.backMs)} ms, presence true after ${Math.round(crowd.presenceMs)} ms, screens complete ${Math.round(crowd.settledMs)} ms after the last send`,
    `fault, how often, and from its end to the first acknowledgement in every conversation (median, longest):`,
    ...table(healing(storm.struck, sends), storm.counts),
    `wrong: ${wrongs.length}`,
  ];
}

/** Runs on a cluster of its own; keeps its logs where something was wrong. */
export async function runAlone(options) {
  const cluster = await startWired();
  let outcome;
  try {
    outcome = await run({ cluster, ...options });
    return { ...outcome, dir: cluster.dir };
  } catch (error) {
    error.message += `\nlogs: ${cluster.dir}`;
    throw error;
  } finally {
    await cluster.stop({ keep: !outcome || outcome.wrongs.length > 0 });
  }
}
