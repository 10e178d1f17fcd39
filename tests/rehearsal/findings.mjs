// What was wrong in a rehearsal, and figures of it.

import { quantile } from "../clients/chaos/figures.mjs";

export class Findings {
  wrongs = [];

  wrong(line) {
    this.wrongs.push(line);
  }

  /** What a phase's verdict has against it, and which programs ended in it. */
  take(phase, { verdict, stray }) {
    for (const what of ["lost", "duplicated", "misplaced"]) {
      if (verdict[what] > 0) this.wrong(`${phase}: ${what} ${verdict[what]}`);
    }
    if (verdict.stored === 0) this.wrong(`${phase}: nothing is stored`);
    for (const line of [...verdict.lines, ...stray]) this.wrong(`${phase}: ${line}`);
  }
}

/** The most of these times, in ms, that lie within any second. */
export function peak(times) {
  const sorted = [...times].sort((x, y) => x - y);
  let most = 0;
  for (let first = 0, last = 0; last < sorted.length; last += 1) {
    while (sorted[last] - sorted[first] >= 1000) first += 1;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** `p50 … p99 … longest …` of many ms. */
export function spreadOf(values) {
  const at = (share) => `${Math.round(quantile(values, share))} ms`;
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, longest ${at(1)}`;
}
