// A user's sessions are revoked: they end everywhere, and no token of before is good for anything.

import assert from "node:assert/strict";

import { Raw } from "../client.mjs";
import { fields, recent, refused } from "../shapes.mjs";
import { http, suite, token, walk } from "../support.mjs";
import { holds, until } from "../wait.mjs";

/** A token that says nothing of when it was issued. */
const undated = (user) => token(user, { claims: { iat: undefined } });

/** Revokes, and answers from when on new tokens are good: the next whole second, since that is all that `iat` says. */
async function revoke(scene, user) {
  const { status, body } = await scene.service("DELETE", `/api/v1/users/${user}/sessions`);
  assert.equal(status, 202, JSON.stringify(body));
  fields(body, { user_id: user, revoked_at: recent });
  return (Math.floor(Date.parse(body.revoked_at) / 1000) + 1) * 1000;
}

suite("revocation", () => {
  walk("a stock client that keeps trying with the old token on every gateway stays out, and gets in with a new one", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    let bearer = token(alice);
    const clients = [];
    for (const gateway of scene.gateways) {
      let turn = 0;
      const via = () => scene.gateways[(turn += 1) % scene.gateways.length];
      const client = await scene.client(alice, { gateway, token: () => bearer, via });
      client.own = await client.joinOwn();
      client.there = await client.join(`conversation:${id}`);
      clients.push(client);
    }
    const other = await (await scene.client(bob)).join(`conversation:${id}`);
    let opened = 0;
    clients.forEach(({ socket }) => socket.onOpen(() => (opened += 1)));

    const fresh = await revoke(scene, alice);
    const told = performance.now();
    await until(() => clients.every(({ closes }) => closes.length > 0), { timeout: 1000, what: "both sockets to be closed" });
    assert.ok(performance.now() - told < 1000);
    for (const { closes } of clients) assert.deepEqual(closes[0], { code: 4003, reason: "revoked" });
    await holds(() => opened === 0, 2500, "no socket of the old token to open");
    assert.ok(clients.every(({ closes }) => closes.length > 5), "they kept trying");
    await other.send("others go on");

    await until(() => Date.now() >= fresh);
    bearer = token(alice, { claims: { iat: Math.floor(Date.now() / 1000) } });
    for (const { socket, there, own } of clients) {
      await until(() => socket.isConnected() && there.channel.isJoined() && own.channel.isJoined(), { what: "alice to be back" });
    }
    await clients[0].there.send("with a new token");
    await other.first("new_message", ({ content }) => content === "with a new token");
  }, { webSocket: true });

  walk("no token of before is good for HTTP, for a socket, or to renew one; a later one is", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [before, never] = [token(alice), undated(alice)];
    const ahead = token(alice, { claims: { iat: Math.floor(Date.now() / 1000) + 3 } });
    const read = (gateway, bearer) => http(gateway, "GET", `/api/v1/conversations/${id}`, { token: bearer });
    for (const bearer of [before, never, ahead]) assert.equal((await read(scene.gateway(), bearer)).status, 200);
    await revoke(scene, alice);
    for (const gateway of scene.gateways) {
      for (const bearer of [before, never]) {
        const { status, body } = await read(gateway, bearer);
        assert.equal(status, 401);
        refused(body.error, "unauthorized");
        const raw = new Raw(gateway, { token: bearer });
        assert.equal((await raw.opened.catch((error) => error)).status, 403);
      }
      assert.equal((await read(gateway, ahead)).status, 200);
      assert.equal((await read(gateway, token(bob))).status, 200, "others go on");
    }
    const client = await scene.client(alice, { token: () => ahead });
    const own = await client.joinOwn();
    refused(await own.refusal("access_token", { access_token: before }), "unauthorized");
    await own.push("access_token", { access_token: ahead });
  });

  walk("only a service revokes, and an id that is none is refused", async (scene) => {
    const alice = scene.user("alice");
    const own = await scene.as(alice, "DELETE", `/api/v1/users/${alice}/sessions`);
    assert.equal(own.status, 403);
    refused(own.body.error, "forbidden");
    const bad = await scene.service("DELETE", "/api/v1/users/%20/sessions");
    assert.equal(bad.status, 400);
    refused(bad.body.error, "validation_failed", ["errors"]);
    assert.equal((await scene.as(alice, "GET", "/api/v1/contacts")).status, 200);
  });
});
