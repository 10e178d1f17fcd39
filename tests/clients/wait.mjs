// Conditions awaited and conditions watched: the only two ways in which the walk lets time pass. And many at once.

import assert from "node:assert/strict";

/** Awaits `condition`, and answers what it answered. Fails after `timeout` ms, saying `what` did not come. */
export async function until(condition, { timeout = 8000, what = "the condition" } = {}) {
  const deadline = performance.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) {
      throw new Error(`waited ${timeout} ms for ${typeof what === "function" ? what() : what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Watches `condition` hold for `ms`: how the absence of an event is shown where nothing later can stand for it. */
export async function holds(condition, ms, what = "the condition to hold") {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    assert.ok(condition(), `expected ${typeof what === "function" ? what() : what} for ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Awaits all of them, also where one fails, so that nothing is begun behind the back of who cleans up; then throws. */
export async function together(promises) {
  const outcomes = await Promise.allSettled(promises);
  const failed = outcomes.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
  return outcomes.map(({ value }) => value);
}
