// Clients that behave badly, in a process of their own so that they cost the measured ones nothing but the server's
// time: `node bad_peers.mjs GATEWAY CONVERSATION USER…` until it is ended. Prints what it did, as JSON, when told SIGTERM.

import { setPriority } from "node:os";
import { connect } from "node:net";

import WebSocket from "ws";

import { token } from "../support.mjs";

// They stand for other machines: what they do costs the gateway something, and this machine's time as little as may be.
setPriority(15);

const [gateway, conversation, ...users] = process.argv.slice(2);
const { hostname, port } = new URL(gateway);
const did = { floods: 0, joins: 0, refused: 0, opened: 0, halves: 0, unread: 0 };
const address = (user) => `${gateway.replace(/^http/, "ws")}/socket/websocket?vsn=2.0.0&token=${token(user)}`;

/** A WebSocket that is open; made again when the server has had enough of it. */
function open(user, begin) {
  const socket = new WebSocket(address(user));
  socket.on("error", () => {});
  socket.on("open", () => begin(socket));
  socket.on("close", () => setTimeout(() => open(user, begin), 200));
}

const frame = (...parts) => JSON.stringify(parts);

/** Sends 2,000 frames a second, or as many as the connection takes: forty times what a user may. */
function flood(socket, next) {
  let count = 0;
  const more = () => {
    for (let n = 0; n < 20 && socket.bufferedAmount < 64 * 1024; n += 1) socket.send(next((count += 1)));
    if (socket.readyState === WebSocket.OPEN) setTimeout(more, 10);
  };
  more();
}

const topic = `conversation:${conversation}`;

const kinds = [
  // Joins what is busy, asks without end, and reads nothing.
  (user) => open(user, (socket) => {
    socket.send(frame("1", "1", topic, "phx_join", {}));
    socket.send(frame("2", "2", `user:${user}`, "phx_join", {}));
    socket._socket.pause();
    flood(socket, (n) => frame("2", `${n}`, `user:${user}`, "ping", { timestamp: "x".repeat(500) }));
    did.unread += 1;
  }),
  // Pushes without end, and reads.
  (user) => open(user, (socket) => {
    socket.send(frame("1", "1", topic, "phx_join", {}));
    socket.on("message", (data) => (did.refused += data.includes("rate_limit_exceeded") ? 1 : 0));
    flood(socket, (n) => {
      did.floods += 1;
      return frame("1", `${n}`, topic, n % 2 ? "typing_start" : "mark_as_read", { message_id: "none" });
    });
  }),
  // Joins without end.
  (user) => open(user, (socket) => {
    flood(socket, (n) => {
      did.joins += 1;
      return frame(`${n}`, `${n}`, n % 2 ? topic : `conversation:${n}`, "phx_join", {});
    });
  }),
  // Opens and is gone.
  (user) => {
    const again = () => {
      const socket = new WebSocket(address(user));
      did.opened += 1;
      socket.on("error", () => {});
      socket.on("open", () => socket.terminate());
      socket.on("close", () => setTimeout(again, 10));
    };
    again();
  },
  // Says half of a request, or half of a frame, and nothing more.
  (user, n) => {
    const half = () => {
      const socket = connect(Number(port), hostname);
      did.halves += 1;
      socket.on("error", () => {});
      socket.on("close", () => setTimeout(half, 200));
      const request = `GET ${address(user).slice(address(user).indexOf("/socket"))} HTTP/1.1\r\nHost: ${hostname}\r\n`;
      if (n % 2) return socket.write(request);
      socket.write(`${request}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
      // A masked text frame that promises 100,000 bytes.
      socket.once("data", () => socket.write(Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 1, 0x86, 0xa0, 1, 2, 3, 4, 0x20, 0x20])));
    };
    half();
  },
];

users.forEach((user, n) => kinds[n % kinds.length](user, Math.floor(n / kinds.length)));
process.on("SIGTERM", () => {
  console.log(JSON.stringify(did));
  process.exit(0);
});
