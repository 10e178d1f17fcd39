// The upgrade, as it is asked for and answered in bytes.

import assert from "node:assert/strict";

import { suite, token, walk } from "../support.mjs";
import { Connection, UPGRADE } from "../wire.mjs";

/** Asks with these headers instead; the answer. */
async function answer(scene, { method = "GET", path = "/socket/websocket", query, without = [], ...headers }) {
  const connection = await Connection.open(scene.gateway());
  const target = `${path}?${query ?? `token=${token(scene.user("alice"))}&vsn=2.0.0`}`;
  const all = { ...UPGRADE, ...headers };
  for (const name of without) delete all[name];
  const { status, body } = await connection.ask(method, target, all);
  connection.close();
  return [status, body];
}

suite("the upgrade", () => {
  walk("who may not connect gets 403 and nothing else", async (scene) => {
    const good = token(scene.user("alice"));
    for (const query of [
      "vsn=2.0.0", "token=abc&vsn=2.0.0", `token=${token("alice", { key: "another" })}&vsn=2.0.0`, `token=${token("alice", { ttl: -60 })}&vsn=2.0.0`,
      ...["2.1.0", "3.0.0", "2", "abc", ""].map((vsn) => `token=${good}&vsn=${vsn}`), "token=%zz&vsn=2.0.0",
    ]) {
      assert.deepEqual(await answer(scene, { query }), [403, ""], query);
      // The token is looked at before the headers.
      assert.deepEqual(await answer(scene, { query, without: ["Upgrade", "Connection"] }), [403, ""], query);
    }
  }, { webSocket: true });

  walk("the versions that are spoken are", async (scene) => {
    const good = token(scene.user("alice"));
    for (const vsn of ["", "&vsn=1.0.0", "&vsn=1.0.3", "&vsn=2.0.0", "&vsn=2.0.7"]) {
      assert.equal((await answer(scene, { query: `token=${good}${vsn}` }))[0], 101, vsn);
    }
    assert.equal((await answer(scene, { path: "/socket/websocket/" }))[0], 101);
  }, { webSocket: true });

  walk("a request that cannot be upgraded is told what it lacks", async (scene) => {
    for (const [change, text] of [
      [{ without: ["Upgrade", "Connection"] }, "'connection' header must contain 'upgrade', got []"],
      [{ Connection: "keep-alive" }, "'connection' header must contain 'upgrade', got [\"keep-alive\"]"],
      [{ "Sec-WebSocket-Version": "8" }, "'sec-websocket-version' header must equal '13', got [\"8\"]"],
      [{ without: ["Sec-WebSocket-Key"] }, "'sec-websocket-key' header is absent"],
      [{ method: "POST", "Content-Length": "0" }, ""],
    ]) {
      assert.deepEqual(await answer(scene, change), [400, text]);
    }
    for (const path of ["/socket", "/socket/nope"]) assert.equal((await answer(scene, { path }))[0], 404, path);
  }, { webSocket: true });
});
