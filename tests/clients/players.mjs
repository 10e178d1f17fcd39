// The ways in which literal frames reach a gateway. A player sends what a transcript says and hands out, one after the
// other, what comes back: frames as JSON, then `{closed: …}`.

import WebSocket from "ws";

import { until } from "./wait.mjs";

/** What both kinds keep: what came, and how far it was read. */
class Player {
  #heard = [];
  #read = 0;

  hear(what) {
    this.#heard.push(what);
  }

  /** The next thing that came, now or soon. */
  async next(what, timeout = 8000) {
    await until(() => this.#heard.length > this.#read, {
      timeout, what: () => `${what()}; before it came ${JSON.stringify(this.#heard).slice(-1500)}`,
    });
    return this.#heard[(this.#read += 1) - 1];
  }
}

/** A WebSocket. */
export class WebSocketPlayer extends Player {
  constructor(gateways, { token, vsn }) {
    super();
    this.socket = new WebSocket(`${gateways[0].replace(/^http/, "ws")}/socket/websocket?token=${token}&vsn=${vsn}`);
    this.socket.on("message", (data, binary) => this.hear(binary ? { binary: data.toString("hex") } : JSON.parse(data)));
    this.socket.on("close", (code, reason) => this.hear({ closed: [code, reason.toString()] }));
    this.socket.on("error", () => {});
  }

  async open() {
    await until(() => this.socket.readyState === WebSocket.OPEN, { what: "the socket to open" });
    return this;
  }

  /** Sends a text, or a Buffer as a binary frame. */
  send(frame) {
    this.socket.send(frame);
  }

  close() {
    this.socket.terminate();
  }
}

/** A long-poll session; each request goes to the next gateway. What closes a WebSocket ends it. */
export class LongPollPlayer extends Player {
  #turn = 0;
  #over = new AbortController();
  /** Posts go one after the other, as phoenix.js sends them. */
  #posts = Promise.resolve();

  constructor(gateways, { token, vsn }) {
    super();
    Object.assign(this, { gateways, query: `vsn=${vsn}&token=${token}` });
  }

  async #ask(method, body) {
    const gateway = this.gateways[(this.#turn += 1) % this.gateways.length];
    const session = this.session ? `&token=${this.session}` : "";
    const response = await fetch(`${gateway}/socket/longpoll?${this.query}${session}`, {
      method, body, signal: this.#over.signal, headers: body === undefined ? {} : { "content-type": "application/x-ndjson" },
    });
    return response.json();
  }

  async open() {
    const { status, token } = await this.#ask("GET");
    if (status !== 410) throw new Error(`no session: ${status}`);
    this.session = token;
    this.#poll().catch(() => {});
    return this;
  }

  async #poll() {
    for (;;) {
      const { status, token, messages } = await this.#ask("GET");
      if (status !== 200 && status !== 204) return this.hear({ closed: [status] });
      this.session = token;
      for (const message of messages) this.hear(JSON.parse(message));
    }
  }

  send(frame) {
    // An empty line is none, and an empty body is a post without frames; neither says anything.
    const body = typeof frame === "string" ? frame : frame.toString("base64");
    this.#posts = this.#posts.then(() => this.#ask("POST", body)).catch(() => {});
  }

  close() {
    this.#over.abort();
  }
}
