// The React example as a developer runs it: vite's dev server, whose proxy leads to a gateway over a wire that can fail.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { after, before } from "node:test";
import { promisify } from "node:util";

import { Wire } from "../clients/network/tcp.mjs";
import { Program, ROOT, answers200, freePort } from "../clients/processes.mjs";
import { scratch } from "../clients/setups.mjs";
import { gateways, token } from "../clients/support.mjs";
import { until } from "./support.mjs";

const EXAMPLE = path.join(ROOT, "examples/react");
const VITE = path.join(EXAMPLE, "node_modules/vite/bin/vite.js");

/** Runs one of the example's scripts; rejects with what it printed where it fails. */
export async function script(name, ...args) {
  const run = promisify(execFile)("npm", ["run", "--silent", name, "--", ...args], { cwd: EXAMPLE });
  const { stdout } = await run.catch((error) => assert.fail(`npm run ${name}: ${error.stdout}${error.stderr}`));
  return stdout;
}

/** Vite's server for a file of cases, started before the first and ended after the last: `{url, wire, dir}`. */
export function served() {
  const site = { dir: scratch() };
  let program;
  before(async () => {
    assert.ok(existsSync(VITE), "the example's packages are not there: npm ci in examples/react");
    site.wire = await Wire.to(Number(new URL(gateways[0]).port));
    site.vite = async (...command) => {
      const port = await freePort();
      const args = [VITE, ...command, "--host", "127.0.0.1", "--port", String(port), "--strictPort"];
      const env = { SIMURGH_URL: `http://127.0.0.1:${site.wire.port}` };
      const one = new Program(command[0] ?? "vite", process.execPath, args, { dir: site.dir, cwd: EXAMPLE, env });
      const url = `http://127.0.0.1:${port}`;
      await one.ready(() => answers200(`${url}/`));
      return Object.assign(one, { url });
    };
    program = await site.vite();
    site.url = program.url;
  });
  after(async () => {
    await program?.kill();
    site.wire?.close();
  });
  return site;
}

/** A tab with the example in it. */
export class Tab {
  /** Frames that left, parsed: `[join_ref, ref, topic, event, payload]`. */
  sent = [];

  constructor(window, user) {
    Object.assign(this, { window, user, page: window.page });
    window.user = user;
    this.page.on("websocket", (socket) => {
      if (!socket.url().includes("/socket/websocket")) return;
      socket.on("framesent", ({ payload }) => this.sent.push(JSON.parse(payload)));
    });
  }

  /** One of `user`, signed in, in a profile of its own. */
  static async of(stage, user, { url }) {
    const tab = new Tab(await stage.window({ gateway: url }), user);
    await tab.signIn();
    return tab;
  }

  /** Another tab of the same user in the same profile. */
  async another() {
    const { window } = this;
    const page = await this.page.context().newPage();
    await page.goto(`${window.gateway}/`);
    const tab = new Tab({ gateway: window.gateway, page }, this.user);
    await tab.signIn();
    return tab;
  }

  async signIn() {
    await this.page.getByLabel("Token").fill(token(this.user));
    await this.page.getByRole("button", { name: "Sign in" }).click();
    await this.page.getByRole("heading", { name: this.user, exact: true }).waitFor();
  }

  async open(other) {
    await this.page.getByLabel("Chat with").fill(other);
    await this.page.getByRole("button", { name: "Open", exact: true }).click();
    await this.connected();
  }

  /** The conversation that is open. */
  get id() {
    return new URL(this.page.url()).hash.slice(1);
  }

  connected() {
    return this.page.getByRole("status").getByText("Connected").waitFor();
  }

  get field() {
    return this.page.getByRole("textbox", { name: "Message", exact: true });
  }

  async say(text) {
    await this.field.fill(text);
    await this.field.press("Enter");
  }

  line(text) {
    return this.page.locator("li", { has: this.page.locator(".text").getByText(text, { exact: true }) });
  }

  sees(text) {
    return this.line(text).waitFor();
  }

  /** Presses a button of a message. */
  press(text, button) {
    return this.line(text).getByRole("button", { name: button, exact: true }).click();
  }

  /** Until one's own message with this text is `sending`, `sent`, `delivered` or `read`. */
  state(text, state) {
    return this.page.locator(`li[data-state="${state}"]`, { has: this.page.locator(".text").getByText(text, { exact: true }) }).waitFor();
  }

  /** Until these texts, and no others, are shown in this order, each stored. */
  async shows(texts) {
    let seen;
    await until(async () => {
      seen = await this.page.locator("section li").evaluateAll((lines) =>
        lines.map((line) => [Number(line.dataset.seq), line.querySelector(".text").textContent]));
      return JSON.stringify(seen) === JSON.stringify(texts.map((text, n) => [n + 1, text]));
    }, () => `${JSON.stringify(texts)}; shown: ${JSON.stringify(seen)}`);
  }

  /** What was pushed as `event`, on the conversation. */
  pushed(event) {
    return this.sent.filter(([, , topic, name]) => name === event && topic.startsWith("conversation:")).map((frame) => frame[4]);
  }

  /** Whether somebody can see the tab: as when another one is before it. */
  look(visible) {
    return this.page.evaluate((state) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, visible ? "visible" : "hidden");
  }
}

/** From here on the wire fails, and the browser itself notes sockets and requests that failed; nothing else is excused. */
export function excuse(...tabs) {
  for (const { window } of tabs) window.expects(/WebSocket connection to|Failed to load resource|^5\d\d http/);
}
