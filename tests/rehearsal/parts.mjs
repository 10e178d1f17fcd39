// The processes that the clients are in, as one.

import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

import { together } from "../clients/wait.mjs";

const CROWD = fileURLToPath(new URL("crowd.mjs", import.meta.url));

export class Parts {
  #children = [];
  #waiting = new Map();
  #number = 0;

  /** `each` clients a conversation, shared out over so many `processes`. */
  constructor({ url, secret }, { clients, each, processes }) {
    const conversations = Math.round(clients / each);
    for (let n = 0; n < processes; n += 1) {
      // What does not divide goes to the first ones.
      const own = Math.floor(conversations / processes) + (n < conversations % processes ? 1 : 0);
      const child = fork(CROWD, [JSON.stringify({ url, conversations: own, each })], { env: { ...process.env, SIMURGH_WALK_SECRET: secret } });
      child.on("message", (message) => this.#heard(message));
      child.on("exit", (code, signal) => this.#gone(`a process of the clients ended with ${signal ?? code}`));
      child.on("error", (error) => this.#gone(error.message));
      this.#children.push(child);
    }
  }

  #heard({ number, said, failed }) {
    const { resolve, reject } = this.#waiting.get(number);
    this.#waiting.delete(number);
    if (failed) reject(new Error(failed));
    else resolve(said);
  }

  #gone(why) {
    for (const { reject } of this.#waiting.values()) reject(new Error(why));
    this.#waiting.clear();
    this.over = why;
  }

  /** Has all of them do it; what each said. */
  #ask(name, options) {
    if (this.over) throw new Error(this.over);
    return together(this.#children.map((child) => new Promise((resolve, reject) => {
      const number = (this.#number += 1);
      this.#waiting.set(number, { resolve, reject });
      child.send({ number, name, options });
    })));
  }

  gather() {
    return this.#ask("gather");
  }

  /** So many messages a second in all. */
  talk(rate) {
    return this.#ask("talk", { every: (1000 * this.#children.length) / rate });
  }

  async hush() {
    return joined(await this.#ask("hush"));
  }

  async state() {
    return joined(await this.#ask("state"));
  }

  async judge() {
    return joined(await this.#ask("judge"));
  }

  async happened() {
    return joined(await this.#ask("happened"));
  }

  end() {
    for (const child of this.#children) child.disconnect();
  }
}

/** Numbers added up, lists behind each other, counts by name added up; of what ends in `Ms` the largest. */
function joined(parts) {
  return parts.reduce((all, part) => Object.fromEntries(Object.entries(part).map(([name, value]) => [name, add(name, all[name], value)])));
}

function add(name, x, y) {
  if (name.endsWith("Ms")) return Math.max(x, y);
  if (Array.isArray(x)) return x.concat(y);
  if (typeof x === "number") return x + y;
  const sum = { ...x };
  for (const [key, count] of Object.entries(y)) sum[key] = (sum[key] ?? 0) + count;
  return sum;
}
