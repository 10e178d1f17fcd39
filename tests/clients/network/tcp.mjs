// A wire that can fail: a TCP proxy that cuts, holds and delays, in one direction or both.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Bytes that wait in one direction before the sender is no longer read: a real wire pushes back, too. */
const MOST_WAITING = 1 << 20;

/** One direction of one connection. Bytes leave in the order in which they came, however they were delayed. */
class Pump {
  #waiting = [];
  #size = 0;
  #ended = false;
  #timer;

  constructor(wire, direction, from, to, filter) {
    Object.assign(this, { wire, direction, from, to });
    from.on("data", (data) => {
      const bytes = filter ? filter(data) : data;
      if (bytes.length > 0) this.#waiting.push({ bytes, at: performance.now() + wire.delayMs });
      this.#size += bytes.length;
      if (this.#size > MOST_WAITING) from.pause();
      this.flow();
    });
    // The other side may not learn of the end while the wire holds its bytes.
    from.on("close", () => {
      this.#ended = true;
      this.flow();
    });
  }

  /** Hands on what is due. */
  flow() {
    clearTimeout(this.#timer);
    if (this.wire.held.has(this.direction)) return;
    const now = performance.now();
    while (this.#waiting.length > 0 && this.#waiting[0].at <= now) {
      const { bytes } = this.#waiting.shift();
      this.#size -= bytes.length;
      if (!this.to.destroyed) this.to.write(bytes);
    }
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.flow(), this.#waiting[0].at - now);
    else if (this.#ended) this.to.destroySoon();
    if (this.#size <= MOST_WAITING) this.from.resume();
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

/** The wire of one process to one server. `up` is towards the server, `down` is from it. */
export class Wire {
  held = new Set();
  delayMs = 0;
  #isCut = false;
  #connections = new Set();

  /** Listens on a free port and leads to `port` of 127.0.0.1. */
  static async to(port, Kind = Wire) {
    const wire = new Kind();
    wire.target = port;
    wire.server = createServer((client) => wire.#accept(client)).listen(0, "127.0.0.1");
    await once(wire.server, "listening");
    wire.server.unref();
    wire.port = wire.server.address().port;
    return wire;
  }

  /** What looks at the bytes of one direction of a new connection, and answers those that go on; none by default. */
  filter(_direction) {
    return undefined;
  }

  #accept(client) {
    client.on("error", () => {});
    if (this.#isCut) return client.resetAndDestroy();
    const server = connect(this.target, "127.0.0.1");
    server.on("error", () => {});
    for (const socket of [client, server]) socket.setNoDelay(true);
    const connection = {
      sockets: [client, server],
      pumps: [
        new Pump(this, "up", client, server, this.filter("up")),
        new Pump(this, "down", server, client, this.filter("down")),
      ],
    };
    this.#connections.add(connection);
    let open = 2;
    for (const socket of connection.sockets) {
      socket.on("close", () => (open -= 1) === 0 && this.#connections.delete(connection));
    }
  }

  /** Resets every connection, and each new one, until `heal`. What was under way is lost. */
  cut() {
    this.#isCut = true;
    this.reset();
  }

  /** Resets every connection; new ones are taken. */
  reset() {
    for (const { sockets, pumps } of this.#connections) {
      pumps.forEach((pump) => pump.stop());
      sockets.forEach((socket) => socket.resetAndDestroy());
    }
    this.#connections.clear();
  }

  /** Nothing arrives and nothing is told, until `heal`: then all of it does, as after TCP's own retries. */
  hold(...directions) {
    this.held = new Set(directions.length > 0 ? directions : ["up", "down"]);
  }

  /** Everything takes `ms` longer each way, until `heal`. */
  delay(ms) {
    this.delayMs = ms;
  }

  heal() {
    this.#isCut = false;
    this.delayMs = 0;
    this.held = new Set();
    for (const { pumps } of this.#connections) pumps.forEach((pump) => pump.flow());
  }

  close() {
    this.server.close();
    this.reset();
  }
}
