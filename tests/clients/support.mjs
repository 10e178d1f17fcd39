// Tokens, HTTP calls, and the scene in which a case plays.

import assert from "node:assert/strict";
import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { describe, test } from "node:test";

import { startBalancer } from "./balancer.mjs";
import { Client, Raw } from "./client.mjs";

/** The gateways under test, as `run.mjs` hands them to each file of the walk. */
export const gateways = (process.env.SIMURGH_WALK_GATEWAYS ?? "http://127.0.0.1:4000").split(",");

/** Whether phoenix.js speaks by long poll, through a balancer that sends each request to the next gateway. */
export const longPoll = process.env.SIMURGH_WALK_TRANSPORT === "longpoll";
const balancer = longPoll ? await startBalancer(() => gateways) : undefined;

const secret = process.env.SIMURGH_WALK_SECRET ?? "dev-secret";

const base64url = (value) => Buffer.from(value).toString("base64url");

/** A JWT signed by HS256. `ttl` is in seconds and may be negative; `claims` override all others. */
export function token(user, { ttl = 3600, service = false, claims = {}, key = secret, header = {} } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const body = { sub: user, iat: now - 1, exp: now + ttl, ...(service ? { scope: "service" } : {}), ...claims };
  const signed = [{ alg: "HS256", typ: "JWT", ...header }, body].map((part) => base64url(JSON.stringify(part))).join(".");
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

/** One HTTP call: `{status, body, headers}`, `body` parsed where it is JSON. */
export async function http(gateway, method, path, { token: bearer, body, headers = {} } = {}) {
  const response = await fetch(gateway + path, {
    method,
    headers: {
      ...(bearer ? { authorization: `Bearer ${bearer}` } : {}),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    signal: AbortSignal.timeout(15_000),
  });
  const text = await response.text();
  const json = response.headers.get("content-type")?.startsWith("application/json");
  return { status: response.status, body: json ? JSON.parse(text) : text, headers: response.headers };
}

/**
 * Makes a conversation by `ask()`, and answers its id. What is answered 503 is asked again, as every client is told to;
 * it may have been done all the same, so the answer then is 200.
 */
export async function made(ask) {
  for (let tries = 1; ; tries += 1) {
    const { status, body } = await ask();
    if (status === 503 && tries < 5) {
      console.error(`asked again: ${JSON.stringify(body)}`);
      continue;
    }
    assert.ok(status === 201 || (status === 200 && tries > 1), `${status}: ${JSON.stringify(body)}`);
    return body.id;
  }
}

/** A group of cases. They share no user and no conversation, so they may run at once. */
export function suite(title, body, { at_once = 6 } = {}) {
  describe(title, { concurrency: at_once }, body);
}

/**
 * One case: `body(scene)`; its clients are gone afterwards, whatever happened. `webSocket` marks what has no meaning
 * over long poll.
 */
export function walk(promise, body, { timeout = 60_000, webSocket = false } = {}) {
  test(promise, { timeout, skip: longPoll && webSocket }, async (t) => {
    const scene = new Scene();
    t.after(() => scene.close());
    await body(scene);
  });
}

let turn = 0;

/** Fresh users, their clients spread over the gateways, and the calls of a back-end service. */
export class Scene {
  #clients = [];
  #suffix = randomBytes(4).toString("hex");

  constructor(at = gateways) {
    this.gateways = at;
  }

  /** A user id nobody else has: `alice` becomes `alice-1f2e3d4c`. */
  user(name) {
    return `${name}-${this.#suffix}`;
  }

  /** The gateway of the given turn, or the next one. */
  gateway(index = (turn += 1)) {
    return this.gateways[index % this.gateways.length];
  }

  /** A connected phoenix.js client of `user` (a full id). */
  async client(user, { gateway = this.gateway(), ...options } = {}) {
    const at = longPoll ? { gateway: balancer.url, longPoll } : { gateway };
    const client = new Client(user, { ...at, token: () => token(user), ...options });
    this.#clients.push(client);
    await client.connect();
    return client;
  }

  /** A bare WebSocket of `user`, open. */
  async raw(user, { gateway = this.gateway(), ...options } = {}) {
    const raw = new Raw(gateway, { token: token(user), ...options });
    this.#clients.push(raw);
    await raw.opened;
    return raw;
  }

  /** An HTTP call as `user`. */
  as(user, method, path, body, options = {}) {
    return http(this.gateway(), method, path, { token: token(user), body, ...options });
  }

  /** An HTTP call as a back-end service. */
  service(method, path, body, options = {}) {
    return http(this.gateway(), method, path, { token: token("billing", { service: true }), body, ...options });
  }

  /** A group made by its first member; its id. */
  group(members, metadata) {
    const [creator, ...others] = members;
    const body = { id: randomUUID(), type: "group", member_ids: others, metadata };
    return made(() => this.as(creator, "POST", "/api/v1/conversations", body));
  }

  /** A client for each member, each on the next gateway, each in the conversation and in nothing else. */
  async joined(members, id, options) {
    const channels = [];
    for (const member of members) {
      const client = await this.client(member, options);
      channels.push(await client.join(`conversation:${id}`));
    }
    return channels;
  }

  async close() {
    await Promise.all(this.#clients.map((client) => client.close()));
  }
}
