// Bytes on a TCP connection: requests as they are written, and WebSocket frames that no client library would send.

import { once } from "node:events";
import { connect } from "node:net";

import { until } from "./wait.mjs";

/** What RFC 6455 asks of an upgrade request. */
export const UPGRADE = {
  Host: "localhost", Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

const MASK = Buffer.from([1, 2, 3, 4]);

/** A client's frame: masked, unless told otherwise. */
export function frame(opcode, payload = "", { fin = true, rsv = 0, masked = true, length } = {}) {
  const data = Buffer.from(payload);
  const said = length ?? data.length;
  const size = said < 126 ? [said] : said < 65536 ? [126, said >> 8, said & 255] : [127];
  if (size[0] === 127) {
    const eight = Buffer.alloc(8);
    eight.writeBigUInt64BE(BigInt(said));
    size.push(...eight);
  }
  size[0] |= masked ? 0x80 : 0;
  const head = Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode, ...size]);
  return Buffer.concat([head, ...(masked ? [MASK, data.map((byte, at) => byte ^ MASK[at % 4])] : [data])]);
}

/** A connection on which bytes are written and read. */
export class Connection {
  #bytes = Buffer.alloc(0);
  ended = false;

  static async open(gateway) {
    const { hostname, port } = new URL(gateway);
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    return new Connection(socket);
  }

  constructor(socket) {
    this.socket = socket;
    socket.on("data", (data) => (this.#bytes = Buffer.concat([this.#bytes, data])));
    socket.on("close", () => (this.ended = true));
    socket.on("error", () => {});
  }

  write(bytes) {
    this.socket.write(bytes);
  }

  /** Sends a request; `{status, headers, body}` of its answer. */
  async ask(method, target, headers) {
    this.write(`${method} ${target} HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
    await until(() => this.#bytes.includes("\r\n\r\n"), { what: "the head of an answer" });
    const [line, ...lines] = this.take(this.#bytes.indexOf("\r\n\r\n") + 4).toString().trim().split("\r\n");
    const answer = { status: Number(line.split(" ")[1]), headers: Object.fromEntries(lines.map((text) => text.split(": "))) };
    const length = Number(answer.headers["content-length"] ?? 0);
    await until(() => this.#bytes.length >= length, { what: "the body of an answer" });
    return { ...answer, body: this.take(length).toString() };
  }

  take(count) {
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }

  /** The server's next frame: `{opcode, text}`, or `{close, reason}`; `"end"` once the connection has ended. */
  async next() {
    const whole = () => {
      const [, second] = this.#bytes;
      if (this.#bytes.length < 2) return undefined;
      const head = second < 126 ? 2 : second === 126 ? 4 : 10;
      if (this.#bytes.length < head) return undefined;
      const size = head === 2 ? second : head === 4 ? this.#bytes.readUInt16BE(2) : Number(this.#bytes.readBigUInt64BE(2));
      return this.#bytes.length >= head + size ? [head, size] : undefined;
    };
    await until(() => this.ended || whole(), { what: "a frame" });
    if (!whole()) return "end";
    const [head, size] = whole();
    const [first, second] = this.take(head);
    if (!(first & 0x80) || first & 0x70 || second & 0x80) throw new Error(`not a server's frame: ${first} ${second}`);
    const payload = this.take(size);
    if ((first & 15) !== 8) return { opcode: first & 15, text: payload.toString() };
    return size === 0 ? { close: null, reason: "" } : { close: payload.readUInt16BE(0), reason: payload.subarray(2).toString() };
  }

  close() {
    this.socket.destroy();
  }
}
