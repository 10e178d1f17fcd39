// The Python client of the gRPC API (grpc/client.py), as something that is asked and awaited.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { token } from "./support.mjs";
import { until } from "./wait.mjs";

const PYTHON = process.env.SIMURGH_TEST_GRPC_PYTHON;

/** The program, which may be asked many things at once. */
export class Python {
  #answers = new Map();
  #streams = new Map();
  #count = 0;

  constructor() {
    assert.ok(PYTHON, "tests/run --only clients sets the client up");
    this.process = spawn(PYTHON, [fileURLToPath(new URL("grpc/client.py", import.meta.url))], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.process.stdout }).on("line", (line) => {
      const said = JSON.parse(line);
      if (said.event) this.#streams.get(said.stream)?.events.push(said.event);
      this.#answers.get(said.id)?.(said);
    });
  }

  /** `{ok}` or `{error}`. */
  ask(line) {
    const id = (this.#count += 1);
    const answer = new Promise((resolve) => this.#answers.set(id, resolve));
    this.process.stdin.write(`${JSON.stringify({ id, ...line })}\n`);
    return Object.assign(answer, { id });
  }

  /** A call, as a service unless told otherwise; what it answers, or its error. */
  async call(gateway, method, request, { bearer = token("billing", { service: true }), timeout = 10 } = {}) {
    const { ok, error } = await this.ask({ do: "call", to: address(gateway), token: bearer, method, request, timeout });
    return { ...(ok ?? {}), error };
  }

  /** A call that is done. */
  async well(...args) {
    const answer = await this.call(...args);
    assert.equal(answer.error, undefined, JSON.stringify(answer.error));
    return answer;
  }

  /** A stream of events. */
  subscribe(gateway, request, { bearer = token("billing", { service: true }), timeout } = {}) {
    const end = this.ask({ do: "subscribe", to: address(gateway), token: bearer, method: "Subscribe", request, timeout });
    const stream = new Stream(this, end.id);
    end.then((said) => (stream.ended = said));
    this.#streams.set(end.id, stream);
    return stream;
  }

  async close() {
    this.process.stdin.end();
    await Promise.race([new Promise((resolve) => this.process.on("exit", resolve)), new Promise((resolve) => setTimeout(resolve, 2000))]);
    this.process.kill("SIGKILL");
  }
}

class Stream {
  events = [];

  constructor(python, id) {
    Object.assign(this, { python, id });
  }

  /** The events of that name. */
  named(name) {
    return this.events.filter((event) => event.name === name);
  }

  /** Its first event; fails where it ends instead. */
  async stands() {
    await until(() => this.events.length > 0 || this.ended, { what: "the stream to stand" });
    assert.equal(this.events[0]?.name, "subscribed", JSON.stringify(this.ended));
    return this.events[0].subscribed;
  }

  /** The event that meets the condition. */
  async has(name, condition = () => true) {
    const found = () => this.named(name).find(condition);
    await until(() => found() || this.ended, { what: () => `${name}; came: ${JSON.stringify(this.events.map((event) => event.name))}` });
    assert.ok(found(), JSON.stringify(this.ended));
    return found();
  }

  /** How it ended. */
  async end() {
    await until(() => this.ended, { timeout: 30_000, what: "the stream to end" });
    return this.ended.error;
  }

  pause(paused) {
    return this.python.ask({ do: "pause", stream: this.id, paused });
  }

  cancel() {
    return this.python.ask({ do: "cancel", stream: this.id });
  }
}

/** A gateway's internal listener, as gRPC's clients name it. */
export const address = (gateway) => new URL(gateway.internal).host;
