// The official Phoenix client with a memory, and a bare WebSocket for what that client would never send.

import { LongPoll, Socket } from "./phoenix.mjs";
import WebSocket from "ws";

import { until } from "./wait.mjs";

const LOCAL_EVENTS = /^(phx_reply|chan_reply_)/;

const v1 = {
  vsn: "1.0.0",
  encode: ({ topic, event, payload, ref }, done) => done(JSON.stringify({ topic, event, payload, ref })),
  decode: (text, done) => done({ join_ref: null, ...JSON.parse(text) }),
};

/** The answer to a push or join that was not ok; `response` is the payload of the refusal. */
export class Refused extends Error {
  constructor(what, response) {
    super(`${what} was refused: ${JSON.stringify(response)}`);
    this.response = response;
  }
}

/** How often a join may be told to try again before it counts as refused. */
const JOIN_TRIES = 20;

/** Turns a phoenix.js Push into a promise of its ok response. `again(response)` says that it is sent again by itself. */
function answer(push, what, again = () => false) {
  return new Promise((resolve, reject) => {
    push
      .receive("ok", resolve)
      .receive("error", (response) => again(response) || reject(new Refused(what, response)))
      .receive("timeout", () => reject(new Error(`${what} got no answer`)));
  });
}

/** A channel that remembers, in order, everything the server sent on it. */
export class Joined {
  /** `{event, payload, at}` of every broadcast and push of the server; `at` in ms. */
  log = [];

  constructor(channel) {
    this.channel = channel;
    channel.onMessage = (event, payload) => {
      // Presence changes what it is given, so the memory is a copy.
      if (!LOCAL_EVENTS.test(event)) this.log.push({ event, payload: structuredClone(payload), at: performance.now() });
      return payload;
    };
  }

  get topic() {
    return this.channel.topic;
  }

  /** Payloads of all events of this name so far. */
  all(event, match = () => true) {
    return this.log.filter((entry) => entry.event === event && match(entry.payload)).map((entry) => entry.payload);
  }

  /** The first payload of this name that matches, now or soon. */
  async first(event, match = () => true, { timeout, after = 0 } = {}) {
    const find = () => this.log.slice(after).find((entry) => entry.event === event && match(entry.payload));
    const seen = () => JSON.stringify(this.log.map((entry) => [entry.event, entry.payload])).slice(-1500);
    return (await until(find, { timeout, what: () => `${event} on ${this.topic}; seen: ${seen()}` })).payload;
  }

  /** When the first such event came, in ms of `performance.now()`. */
  at(event, match = () => true) {
    return this.log.find((entry) => entry.event === event && match(entry.payload))?.at;
  }

  /** Pushes, and answers the ok response. Throws `Refused`. */
  push(event, payload = {}, timeout) {
    return answer(this.channel.push(event, payload, timeout), `${event} on ${this.topic}`);
  }

  /** Pushes what must be refused, and answers the refusal. */
  async refusal(event, payload = {}) {
    try {
      const response = await this.push(event, payload);
      throw new Error(`${event} was accepted: ${JSON.stringify(response)}`);
    } catch (error) {
      if (error instanceof Refused) return error.response;
      throw error;
    }
  }

  /** Sends a text with a fresh `client_random`; the reply. */
  send(content, more = {}) {
    return this.push("send_message", {
      message_type: "text", content, client_random: Math.floor(Math.random() * 1e9), ...more,
    });
  }

  /** Leaves, and waits for the server to say so: phoenix.js calls a leave done as soon as it is asked for. */
  async leave() {
    const { socket, topic } = this.channel;
    let closed = false;
    const listener = socket.onMessage((message) => {
      closed ||= message.topic === topic && message.event === "phx_close";
    });
    this.channel.leave();
    try {
      await until(() => closed, { what: () => `the close of ${topic}` });
    } finally {
      socket.off([listener]);
    }
  }
}

/** One phoenix.js socket. */
export class Client {
  /** `{code, reason}` of every close of the transport. */
  closes = [];

  /**
   * `token` is a function, asked again at each reconnect; `vsn: 1` speaks objects instead of arrays; `via` picks the
   * transport's address, as a load balancer would; `authToken` passes the token by subprotocol; `longPoll` uses
   * phoenix.js' other transport; the rest goes to Socket.
   */
  constructor(user, { gateway, token, vsn, via, authToken = false, longPoll = false, ...options }) {
    this.user = user;
    const transport = longPoll ? LongPoll : via
      ? class extends WebSocket {
          constructor(url, protocols) {
            const address = new URL(url);
            address.host = new URL(via()).host;
            super(address.href, protocols);
          }
        }
      : WebSocket;
    this.socket = new Socket(`${gateway.replace(/^http/, "ws")}/socket`, {
      transport,
      params: authToken ? {} : () => ({ token: token() }),
      ...(authToken ? { authToken: token } : {}),
      ...(vsn === 1 ? v1 : {}),
      // Quick enough for a test, slow enough not to be a storm.
      reconnectAfterMs: () => 100,
      rejoinAfterMs: () => 200,
      ...options,
    });
    this.socket.onClose((event) => this.closes.push({ code: event.code, reason: event.reason }));
    this.socket.onError(() => {});
  }

  async connect() {
    this.socket.connect();
    await until(() => this.socket.isConnected(), { what: `${this.user}'s socket to open` });
    return this;
  }

  /**
   * Joins; `reply` holds the ok response. `before(channel)` may bind what must not miss the first push. Workers that
   * have too much to do say `unavailable`, and phoenix.js tries again by itself, here as in apps.
   */
  async join(topic, params = {}, before = () => {}) {
    const joined = new Joined(this.socket.channel(topic, params));
    before(joined.channel);
    let tries = 0;
    const again = ({ reason }) => reason === "unavailable" && (tries += 1) < JOIN_TRIES;
    try {
      joined.reply = await answer(joined.channel.join(), `join of ${topic}`, again);
    } catch (error) {
      // It would go on trying to join for ever.
      joined.channel.leave();
      throw error;
    }
    return joined;
  }

  /** The user's own topic, after its `sync_complete`. */
  async joinOwn(before) {
    const joined = await this.join(`user:${this.user}`, {}, before);
    await joined.first("sync_complete");
    return joined;
  }

  /** Joins what must be refused, and answers the refusal. */
  async refusedJoin(topic, params = {}) {
    try {
      await this.join(topic, params);
    } catch (error) {
      if (error instanceof Refused) return error.response;
      throw error;
    }
    throw new Error(`join of ${topic} was accepted`);
  }

  /** Cuts the connection as a lost network does; the client comes back by itself. */
  drop() {
    const { conn } = this.socket;
    if (conn instanceof LongPoll) conn.ontimeout();
    else conn.terminate();
  }

  /** Goes for good, without leaving its channels first. */
  async close() {
    const { conn } = this.socket;
    await new Promise((resolve) => this.socket.disconnect(resolve));
    conn?.terminate?.();
  }
}

/** A bare WebSocket: frames as they are on the wire. */
export class Raw {
  /** Parsed text frames, in order. */
  frames = [];

  constructor(gateway, { token, vsn = "2.0.0", query = {}, headers, protocols = [], path = "/socket/websocket" }) {
    const url = new URL(gateway.replace(/^http/, "ws") + path);
    for (const [key, value] of Object.entries({ token, vsn, ...query })) {
      if (value !== undefined && value !== null) url.searchParams.set(key, value);
    }
    this.socket = new WebSocket(url, protocols, { headers });
    this.socket.on("message", (data, binary) => this.frames.push(binary ? data : JSON.parse(data.toString())));
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => resolve((this.close_frame = { code, reason: reason.toString() })));
    });
    /** Rejects with `{status, body}` when the upgrade is refused. */
    this.opened = new Promise((resolve, reject) => {
      this.socket.on("open", () => resolve(this));
      this.socket.on("error", reject);
      this.socket.on("unexpected-response", (_request, response) => {
        let body = "";
        response.on("data", (chunk) => (body += chunk));
        response.on("end", () => reject(Object.assign(new Error(`upgrade: ${response.statusCode}`), {
          status: response.statusCode, body, headers: response.headers,
        })));
      });
    });
    this.opened.catch(() => {});
  }

  /** Sends a value as JSON, or a string or Buffer as it is, in a text frame. */
  send(frame) {
    const bytes = typeof frame === "string" || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame);
    this.socket.send(bytes, { binary: false });
  }

  /** The first frame that matches, now or soon. */
  frame(match, what = "a frame") {
    return until(() => this.frames.find(match), { what: () => `${what}; seen: ${JSON.stringify(this.frames).slice(-1500)}` });
  }

  /** Sends `[join_ref, ref, topic, event, payload]` and answers the whole reply frame to that ref. */
  async ask(join_ref, ref, topic, event, payload) {
    this.send([join_ref, ref, topic, event, payload]);
    return this.frame(
      (frame) => frame[1] === ref && frame[2] === topic && frame[3] === "phx_reply",
      `the reply to ${event} on ${topic}`,
    );
  }

  /** `{code, reason}` once the server has closed it. */
  ended(timeout) {
    return until(() => this.close_frame, { timeout, what: "the socket to be closed" });
  }

  async close() {
    this.socket.on("error", () => {});
    this.socket.terminate();
  }
}
