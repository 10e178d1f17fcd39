// A person at a browser: what they see, and what they do.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { Scene, token } from "../clients/support.mjs";
import { until as awaited } from "../clients/wait.mjs";

export const ARTEFACTS = fileURLToPath(new URL("../.artefacts/", import.meta.url));

/** Longer than anything takes on a busy machine, shorter than a case. */
const PATIENCE_MS = 30_000;

/** Awaits a condition, with the patience that pages are given. */
export const until = (condition, what) => awaited(condition, { timeout: PATIENCE_MS, what });

const QUIET = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

let launched;

/** Debian's Chromium, once a process. */
function browser() {
  launched ??= chromium.launch({ executablePath: process.env.SIMURGH_TEST_CHROMIUM ?? "/usr/bin/chromium", args: QUIET });
  return launched;
}

after(async () => (await launched)?.close());

/** One case: `body(stage)`. Afterwards no page may have complained, and every window is gone. */
export function play(promise, body, { timeout = 120_000 } = {}) {
  test(promise, { timeout }, async (t) => {
    const stage = new Stage();
    t.after(() => stage.close());
    try {
      await body(stage);
    } catch (error) {
      await stage.shoot(promise);
      throw error;
    }
    for (const window of stage.windows) await window.settle();
  });
}

/** A scene with windows in it. */
export class Stage extends Scene {
  windows = [];

  /** A window in a profile of its own, on the given gateway or the next one; nobody has signed in yet. */
  async window({ gateway = this.gateway(), ...options } = {}) {
    const context = await (await browser()).newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    const window = new Window(await context.newPage(), gateway);
    this.windows.push(window);
    await window.watch();
    await window.page.goto(`${gateway}/`);
    return window;
  }

  /** A window of `user` (a full id), signed in and connected. */
  async person(user, options) {
    const window = await this.window(options);
    await window.signIn(user);
    return window;
  }

  /** What everybody saw when a case failed. */
  async shoot(name) {
    mkdirSync(ARTEFACTS, { recursive: true });
    for (const [n, { page }] of this.windows.entries()) {
      const file = `failed-${name.replaceAll(/\W+/g, "-").slice(0, 60)}-${n}.png`;
      await page.screenshot({ path: path.join(ARTEFACTS, file) }).catch(() => {});
    }
  }

  async close() {
    await Promise.all(this.windows.map(({ page }) => page.context().close()));
    await super.close();
  }
}

export class Window {
  /** Errors, warnings, violations of the policy and failed requests, but those that a case expects. */
  problems = [];
  /** Those that a case expects: a pattern, and how many are to come. */
  #expected = [];

  constructor(page, gateway) {
    Object.assign(this, { page, gateway });
  }

  async watch() {
    const { page } = this;
    const note = (problem) => {
      const expected = this.#expected.find(({ pattern, left }) => left > 0 && pattern.test(problem));
      if (expected) expected.left -= 1;
      else this.problems.push(problem);
    };
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && note(message.text()));
    page.on("pageerror", (error) => note(error.stack));
    page.on("response", (response) => response.status() >= 400 && note(`${response.status()} ${response.url()}`));
    page.on("request", (request) => !request.url().startsWith(this.gateway) && note(`a request to ${request.url()}`));
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) =>
        console.error(`violates ${event.violatedDirective}: ${event.blockedURI || event.sample}`));
    });
  }

  /**
   * `count` problems that match are to come (any number if none is given), and are none. A refused request is two, its answer
   * and a line on the console, and they come when the browser has time: after what the page shows of them too.
   */
  expects(pattern, count = Infinity) {
    this.#expected.push({ pattern, left: count });
  }

  /** The end of a case: what was expected has come, and nothing else. */
  async settle() {
    await until(() => this.#expected.every(({ left }) => left === 0 || left === Infinity), `${this.user}'s page complains of what was refused`);
    assert.deepEqual(this.problems, [], `${this.user}'s page complained`);
  }

  /** By name where the page may sign tokens, else with one that is pasted. */
  async signIn(user) {
    this.user = user;
    const { page } = this;
    const field = page.locator("#name, #token");
    await field.waitFor();
    await field.fill((await field.getAttribute("id")) === "name" ? user : token(user));
    await page.getByRole("button", { name: "Enter", exact: true }).click();
    await this.connection("Connected");
  }

  /** Does `act`, which has the page connect anew, and awaits that its conversations are joined again: it may edit then. */
  async rejoined(act) {
    const joins = () => this.page.locator('.frame.in[data-event="phx_reply"]', { hasText: "phx_join → ok" }).filter({ hasText: "conversation:" }).count();
    const before = await joins();
    await act();
    await until(async () => (await joins()) > before, "the rejoin");
    await this.connection("Connected");
  }

  connection(words) {
    return this.page.locator(".connection", { hasText: words }).waitFor();
  }

  /** Starts a conversation by the dialog, and has it open afterwards. */
  async start(users, title) {
    const { page } = this;
    await page.getByRole("button", { name: "New conversation" }).click();
    for (const user of users) {
      await page.getByLabel("With whom?").fill(user);
      await page.keyboard.press("Enter");
    }
    if (title) await page.getByLabel("Name of the group").fill(title);
    await page.getByRole("button", { name: /^Start/ }).click();
    await page.getByRole("heading", { name: title ?? users[0], exact: true }).waitFor();
    await this.nothingOrMessages();
  }

  /** Until the conversation that is open has been joined and its history looked at. */
  nothingOrMessages() {
    return this.page.locator(".nothing, .line").first().waitFor();
  }

  /** The row of a conversation in the list. */
  row(title) {
    return this.page.locator(".conversation", { has: this.page.locator(".title", { hasText: title }) });
  }

  /** Opens a conversation from the list. */
  async open(title) {
    await this.row(title).click();
    await this.nothingOrMessages();
  }

  get field() {
    return this.page.getByRole("textbox", { name: "Message", exact: true });
  }

  async say(text) {
    await this.field.fill(text);
    await this.field.press("Enter");
  }

  /** The lines with exactly this text. */
  lines(text) {
    // Not by `getByText`: names within a text are elements of their own.
    const exactly = new RegExp(`^${text.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&")}$`);
    return this.page.locator(".line", { has: this.page.locator(".text", { hasText: exactly }) });
  }

  line(text) {
    return this.lines(text).first();
  }

  async sees(text) {
    await this.line(text).waitFor();
  }

  /** Reacts to a message. By its focus: a pointer that rests is over another line once a message comes in. */
  async react(text, reaction) {
    await this.line(text).focus();
    await this.line(text).getByRole("button", { name: `React with ${reaction}` }).click();
  }

  /** Presses one of the buttons of a message, by its focus as well. */
  async act(text, name) {
    await this.line(text).focus();
    await this.line(text).getByRole("button", { name, exact: true }).click();
  }

  /** Until one's own message with this text is `sending`, `sent`, `delivered` or `read`. */
  state(text, state) {
    return this.line(text).locator(`.state[data-state="${state}"]`).waitFor();
  }

  /** `[seq, text]` of every line on the page, in the order of the page. */
  async shown() {
    return this.page.locator(".line").evaluateAll((lines) =>
      lines.map((line) => [Number(line.dataset.seq), line.querySelector(".text").textContent]));
  }

  /** Until these lines, and no others, are shown in this order, each with the next `seq`. */
  async shows(texts) {
    let seen;
    await until(async () => {
      seen = await this.shown();
      return JSON.stringify(seen.map(([, text]) => text)) === JSON.stringify(texts);
    }, () => `${JSON.stringify(texts)}; shown: ${JSON.stringify(seen)}`);
    await until(async () => {
      seen = await this.shown();
      return seen.every(([seq], n) => seq === seen[0][0] + n && seq > 0);
    }, () => `a seq for each without a gap: ${JSON.stringify(seen)}`);
  }

  /** A button of the frames' panel. */
  tool(name) {
    return this.page.getByRole("complementary").getByRole("button", { name, exact: true });
  }

  /** The frames of this event in the panel, parsed: `[join_ref, ref, topic, event, payload]`. */
  async frames(direction, event) {
    const rows = this.page.locator(`.frame.${direction}[data-event="${event}"]`);
    const frames = [];
    for (const row of await rows.all()) {
      if (!(await row.locator("pre").count())) await row.locator("summary").click();
      frames.push(JSON.parse(await row.locator("pre").textContent()));
    }
    return frames;
  }

  /** Presses Tab until what has the focus is called so, as people do who have no mouse. */
  async tabTo(name) {
    const { page } = this;
    const called = () => page.evaluate(() => {
      const { activeElement: node } = document;
      return node.getAttribute("aria-label") || node.labels?.[0]?.textContent || node.textContent;
    });
    for (let n = 0; n < 60; n += 1) {
      await page.keyboard.press("Tab");
      if ((await called()) === name) return;
    }
    assert.fail(`60 times Tab, and never at ${name}`);
  }

  /** Whether a person could see where the focus is. */
  async focusIsVisible() {
    const outline = await this.page.evaluate(() => {
      const { activeElement: node } = document;
      const ring = (one) => parseFloat(getComputedStyle(one).outlineWidth) > 0 && getComputedStyle(one).outlineStyle !== "none";
      // The field to write in and a message show it on what is around and inside them.
      const around = node.closest(".compose");
      return ring(node) || [...node.children].some((one) => ring(one) || [...one.children].some(ring))
        || (around !== null && getComputedStyle(around).boxShadow !== "none");
    });
    assert.ok(outline, "the focus shows");
  }
}
