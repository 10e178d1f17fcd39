// WebSocket frames, byte by byte, as RFC 6455 has them.

import assert from "node:assert/strict";

import { suite, token, walk } from "../support.mjs";
import { Connection, UPGRADE, frame } from "../wire.mjs";

const [CONTINUED, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];
const BEAT = '[null,"1","phoenix","heartbeat",{}]';
const ALIVE = { opcode: TEXT, text: '[null,"1","phoenix","phx_reply",{"response":{},"status":"ok"}]' };
const PROTOCOL_ERROR = { close: 1002, reason: "protocol_error" };
const more = { fin: false };

function code(number, reason = "") {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(number);
  return Buffer.concat([bytes, Buffer.from(reason)]);
}

/** A heartbeat of exactly so many bytes. */
function beat(bytes) {
  return BEAT.replace("{}", `{"pad":"${"x".repeat(bytes - BEAT.length - 8)}"}`);
}

async function opened(scene, headers = {}) {
  const connection = await Connection.open(scene.gateway());
  const target = `/socket/websocket?token=${token(scene.user("alice"))}&vsn=2.0.0`;
  const answer = await connection.ask("GET", target, { ...UPGRADE, ...headers });
  assert.equal(answer.status, 101);
  return { connection, headers: answer.headers };
}

/** Sends these frames; then exactly these come, and where the last is a close the connection ends. */
function exchange(promise, frames, expected) {
  walk(promise, async (scene) => {
    const { connection } = await opened(scene);
    try {
      connection.write(Buffer.concat(frames));
      for (const wanted of expected) assert.deepEqual(await connection.next(), wanted);
      if ("close" in expected.at(-1)) {
        assert.equal(await connection.next(), "end");
      } else {
        connection.write(frame(TEXT, BEAT));
        assert.deepEqual(await connection.next(), ALIVE, "the socket lives");
      }
    } finally {
      connection.close();
    }
  }, { webSocket: true });
}

suite("messages", () => {
  exchange("a masked text is read", [frame(TEXT, BEAT)], [ALIVE]);
  exchange("fragments make one message", [frame(TEXT, BEAT.slice(0, 10), more), frame(CONTINUED, BEAT.slice(10))], [ALIVE]);
  exchange("fragments may be of one byte, or of none", [
    frame(TEXT, "", more), ...Array.from(BEAT, (letter) => frame(CONTINUED, letter, more)), frame(CONTINUED, ""),
  ], [ALIVE]);
  exchange("pings are answered, between fragments too", [
    frame(TEXT, BEAT.slice(0, 10), more), frame(PING, "p"), frame(CONTINUED, BEAT.slice(10)),
  ], [{ opcode: PONG, text: "p" }, ALIVE]);
  exchange("a pong that nobody asked for is ignored", [frame(PONG, "xyz"), frame(TEXT, BEAT)], [ALIVE]);
  exchange("a character may be split between fragments", [
    frame(TEXT, Buffer.from('[null,"1","phoenix","heartbeat",{"a":"é').subarray(0, -1), more),
    frame(CONTINUED, Buffer.from('é"}]').subarray(1)),
  ], [ALIVE]);
  for (const size of [125, 126, 127, 65_535, 65_536, 131_072]) {
    exchange(`a message of ${size} bytes is read`, [frame(TEXT, beat(size))], [ALIVE]);
  }
});

suite("violations", () => {
  exchange("a frame that is not masked", [frame(TEXT, BEAT, { masked: false })], [PROTOCOL_ERROR]);
  exchange("a reserved opcode", [frame(3, "x")], [PROTOCOL_ERROR]);
  exchange("a reserved control opcode", [frame(11, "x")], [PROTOCOL_ERROR]);
  exchange("a reserved bit without an extension", [frame(TEXT, BEAT, { rsv: 4 })], [PROTOCOL_ERROR]);
  exchange("a continuation of nothing", [frame(CONTINUED, "x")], [PROTOCOL_ERROR]);
  exchange("a new message inside another", [frame(TEXT, "a", more), frame(TEXT, "b")], [PROTOCOL_ERROR]);
  exchange("a fragmented ping", [frame(PING, "x", more)], [PROTOCOL_ERROR]);
  exchange("a ping of 126 bytes", [frame(PING, "x".repeat(126))], [PROTOCOL_ERROR]);
  exchange("a close of one byte", [frame(CLOSE, "x")], [PROTOCOL_ERROR]);
  const invalid = { close: 1007, reason: "invalid_frame" };
  exchange("a text that is not UTF-8", [frame(TEXT, Buffer.from([0xff, 0xfe]))], [invalid]);
  exchange("a text that is not UTF-8 in its second fragment", [
    frame(TEXT, "[", more), frame(CONTINUED, Buffer.from([0xc3, 0x28])),
  ], [invalid]);
  exchange("an empty text is no message", [frame(TEXT, "")], [invalid]);
  exchange("an empty binary frame is no message", [frame(BINARY, "")], [invalid]);
  const tooBig = { close: 1009, reason: "frame_too_big" };
  exchange("a message of more than 128 KiB", [frame(TEXT, beat(131_073))], [tooBig]);
  exchange("fragments of more than 128 KiB together", [
    frame(TEXT, "x".repeat(100_000), more), frame(CONTINUED, "x".repeat(100_000)),
  ], [tooBig]);
  exchange("a length that nobody can mean", [frame(TEXT, "x", { length: 2 ** 52 })], [tooBig]);
});

suite("closing", () => {
  for (const number of [1000, 1001, 3000, 4999]) {
    exchange(`${number} is answered with ${number}`, [frame(CLOSE, code(number, "bye"))], [{ close: number, reason: "bye" }]);
  }
  exchange("a close without a code is answered without one", [frame(CLOSE)], [{ close: null, reason: "" }]);
  for (const number of [999, 1004, 1005, 1006, 1015, 5000]) {
    exchange(`${number}, which must not be sent, is a violation`, [frame(CLOSE, code(number))], [{ close: 1002, reason: "Protocol violation" }]);
  }
  walk("the server's close is sent once, and the client's answer ends the connection", async (scene) => {
    const { connection } = await opened(scene);
    connection.write(frame(TEXT, "{"));
    assert.deepEqual(await connection.next(), { close: 1007, reason: "invalid_frame" });
    connection.write(frame(CLOSE, code(1007)));
    assert.equal(await connection.next(), "end");
  }, { webSocket: true });
});

suite("compression", () => {
  walk("is not offered, and whoever asks for it connects without", async (scene) => {
    const { connection, headers } = await opened(scene, {
      "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits", "Sec-WebSocket-Protocol": "foo, bar",
    });
    assert.equal(headers["sec-websocket-extensions"], undefined);
    assert.equal(headers["sec-websocket-protocol"], undefined);
    assert.equal(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    connection.write(frame(TEXT, BEAT));
    assert.deepEqual(await connection.next(), ALIVE);
    connection.close();
  }, { webSocket: true });
});
