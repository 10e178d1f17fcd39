// A schedule of faults, drawn from a seed, and its playing.

import { together } from "../wait.mjs";
import { Chance } from "./chance.mjs";
import { KINDS } from "./kinds.mjs";

/** How long a fault lasts, in seconds: mostly short; now and then as long as patience, pings and leases take. */
function length(chance, { longest }) {
  const [least, most] = chance.happens(0.75) ? [0.3, 2.5] : chance.happens(0.7) ? [2.5, 8] : [8, 25];
  return Math.min(chance.between(least, most), longest);
}

/**
 * Faults for so many seconds: `{at, kind, turn, seconds}` by time; `turn` picks the target. Every kind comes once before
 * any comes again; every third begins before the one before it has ended.
 */
export function plan(seed, seconds, { longest = 25 } = {}) {
  const chance = new Chance(seed);
  const faults = [];
  let deck = [];
  for (let at = 0; ; ) {
    if (deck.length === 0) deck = chance.shuffled([...KINDS.keys()]);
    const fault = { at, kind: deck.pop(), turn: chance.below(1 << 16), seconds: length(chance, { longest }) };
    const overlaps = chance.happens(1 / 3);
    at += overlaps ? chance.between(0.1, 0.6) : fault.seconds + chance.between(0.2, 1.2);
    if (fault.at + fault.seconds > seconds) return faults;
    faults.push(fault);
  }
}

/** One fault in words. */
export function inWords({ at, kind, turn, seconds }) {
  return `${at.toFixed(1).padStart(7)} s  ${kind} (${turn % 2 === 0 ? "first" : "second"}) for ${seconds.toFixed(1)} s`;
}

/** Plays a plan against a cluster. A target that still suffers from another fault is struck when that has ended. */
export class Storm {
  /** `{kind, target, began, ended}`, in ms of `performance.now()`. */
  struck = [];
  #busy = new Map();
  #underWay = [];

  constructor(cluster, faults, chance, log = () => {}) {
    Object.assign(this, { cluster, faults, chance, log });
  }

  /** Resolves when every fault has ended and every process serves. */
  async rage() {
    const began = performance.now();
    for (const fault of this.faults) {
      const wait = began + fault.at * 1000 - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      const strike = this.#strike(fault);
      strike.catch(() => {}); // It is told below, with the others.
      this.#underWay.push(strike);
    }
    await together(this.#underWay);
  }

  async #strike({ kind, turn, seconds }) {
    const { targets, begin } = KINDS.get(kind);
    const all = targets(this.cluster);
    const target = all[turn % all.length];
    const chance = this.chance.fork();
    const free = this.#busy.get(target) ?? Promise.resolve();
    const done = free.then(async () => {
      const entry = { kind, target, began: performance.now() };
      this.struck.push(entry);
      this.log(`${kind}${target.name ? `: ${target.name}` : ""} for ${seconds.toFixed(1)} s`);
      const end = await begin(this.cluster, target, chance)();
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      await end();
      entry.ended = performance.now();
      this.log(`${kind} ended`);
    });
    this.#busy.set(target, done);
    return done;
  }

  /** How many of each kind. */
  get counts() {
    const counts = {};
    for (const { kind } of this.struck) counts[kind] = (counts[kind] ?? 0) + 1;
    return counts;
  }
}
