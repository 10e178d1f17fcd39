// Members come and go; what the removed can still do is nothing.

import assert from "node:assert/strict";

import { conversationJoin, fields, httpRefused, recent, refused, text } from "../shapes.mjs";
import { suite, walk } from "../support.mjs";
import { until } from "../wait.mjs";

const members = (id, user) => `/api/v1/conversations/${id}/members/${user}`;

suite("members", () => {
  walk("any member adds to a group; the new one sees older history and has read it", async (scene) => {
    const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => scene.user(name));
    const id = await scene.group([alice, bob]);
    const [a] = await scene.joined([alice], id);
    await a.send("before carol");
    const owns = [];
    for (const user of [alice, bob, carol]) owns.push(await (await scene.client(user)).joinOwn());
    const clientC = await scene.client(carol);
    refused(await clientC.refusedJoin(`conversation:${id}`), "not_a_member");

    assert.equal((await scene.as(bob, "PUT", members(id, carol))).status, 204);
    assert.equal((await scene.as(bob, "PUT", members(id, carol))).status, 204, "again changes nothing");
    for (const own of owns) {
      const update = await own.first("conversation_updated", ({ change }) => change === "member_added");
      assert.deepEqual([update.conversation_id, update.user_id], [id, carol]);
      recent(update.updated_at);
    }
    const c = await clientC.join(`conversation:${id}`, { last_seq: 0 });
    conversationJoin(c.reply, { last_seq: 1, last_read_seq: 1 });
    assert.deepEqual(c.reply.messages.map(({ content }) => content), ["before carol"]);
    const { body } = await scene.as(carol, "GET", `/api/v1/conversations/${id}`);
    assert.deepEqual([...body.member_ids].sort(), [alice, bob, carol].sort());
    await a.send("hello carol");
    await owns[2].first("new_message");
  });

  walk("a removed member's channels close everywhere, and nothing works for them from then on", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const [a] = await scene.joined([alice], id);
    const clients = [await scene.client(bob, { gateway: scene.gateway(0) }), await scene.client(bob, { gateway: scene.gateway(1) })];
    const channels = [];
    for (const client of clients) channels.push(await client.join(`conversation:${id}`));
    const ownA = await (await scene.client(alice)).joinOwn();
    const ownB = await clients[0].joinOwn();
    const { message_id } = await a.send("last one bob sees");
    for (const channel of channels) await channel.first("new_message");

    assert.equal((await scene.as(alice, "DELETE", members(id, bob))).status, 204);
    // From here on, whichever process is asked.
    for (const gateway of [0, 1]) {
      const raw = await scene.raw(bob, { gateway: scene.gateway(gateway) });
      const join = await raw.ask("1", "1", `conversation:${id}`, "phx_join", {});
      assert.equal(join[0], "1");
      refused(join[4].response, "not_a_member");
    }
    for (const call of [["GET", ""], ["GET", "/messages"]]) {
      httpRefused(await scene.as(bob, call[0], `/api/v1/conversations/${id}${call[1]}`), 404, "not_a_member");
    }
    const body = { message_type: "text", content: "still here?", client_random: 1 };
    httpRefused(await scene.as(bob, "POST", `/api/v1/conversations/${id}/messages`, body), 404, "not_a_member");
    for (const channel of channels) {
      await channel.first("phx_close");
      assert.equal(channel.channel.state, "closed");
      assert.deepEqual(channel.all("phx_error"), [], "phoenix.js must not try to rejoin");
    }
    for (const own of [ownA, ownB]) {
      const update = await own.first("conversation_updated", ({ change }) => change === "member_removed");
      assert.deepEqual([update.conversation_id, update.user_id], [id, bob]);
    }
    const left = await a.first("user_left", ({ user_id }) => user_id === bob, { timeout: 2500 });
    fields(left, { user_id: bob, timestamp: recent });

    await a.send("without bob");
    await a.push("add_reaction", { message_id, reaction: "👍" });
    await ownA.first("new_message", ({ content }) => content === "without bob");
    assert.deepEqual(ownB.all("new_message").map(({ content }) => content), ["last one bob sees"]);
    for (const channel of channels) {
      assert.deepEqual(channel.all("new_message").map(({ content }) => content), ["last one bob sees"]);
      assert.deepEqual(channel.all("reaction_added"), []);
    }
    assert.deepEqual(clients.map((client) => client.closes), [[], []], "the sockets live on");

    // And back again.
    assert.equal((await scene.as(alice, "PUT", members(id, bob))).status, 204);
    const back = await clients[1].join(`conversation:${id}`);
    await back.send("bob is back");
    await a.first("new_message", ({ content }) => content === "bob is back");
  });

  walk("the creator and services remove, others do not, and one may always leave", async (scene) => {
    const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => scene.user(name));
    const id = await scene.group([alice, bob, carol]);
    httpRefused(await scene.as(bob, "DELETE", members(id, carol)), 403, "forbidden");
    httpRefused(await scene.as(bob, "DELETE", members(id, alice)), 403, "forbidden");
    assert.equal((await scene.as(bob, "DELETE", members(id, bob))).status, 204);
    assert.equal((await scene.service("DELETE", members(id, carol))).status, 204);
    assert.equal((await scene.service("PUT", members(id, bob))).status, 204);
    const { body } = await scene.service("GET", `/api/v1/conversations/${id}`);
    assert.deepEqual([...body.member_ids].sort(), [alice, bob].sort());
    httpRefused(await scene.as(alice, "PUT", members(id, "no spaces".replace(" ", "%20"))), 400, "validation_failed", ["errors"]);
  });
});

suite("notifications", () => {
  walk("a service's notification reaches each of a user's sessions", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const path = `/api/v1/users/${alice}/notifications`;
    const one = await (await scene.client(alice, { gateway: scene.gateway(0) })).joinOwn();
    const two = await (await scene.client(alice, { gateway: scene.gateway(1) })).joinOwn();
    const b = await (await scene.client(bob)).joinOwn();
    const body = { kind: "billing", title: "Paid", body: "Thank you.", data: { invoice: 7 } };
    let id;
    await until(async () => {
      const sent = await scene.service("POST", path, body);
      assert.equal(sent.status, 202, JSON.stringify(sent.body));
      fields(sent.body, { id: text, delivered_to: (count) => assert.equal(typeof count, "number") });
      id = sent.body.id;
      // How many are live is known everywhere within the time in which presence converges.
      return sent.body.delivered_to === 2;
    }, { timeout: 5000, what: "two sessions to be counted" });
    for (const own of [one, two]) {
      fields(await own.first("notification", (notice) => notice.id === id), { id, ...body, at: recent });
    }
    assert.deepEqual(b.all("notification"), []);
    const nobody = await scene.service("POST", `/api/v1/users/${scene.user("nobody")}/notifications`, { kind: "a", title: "b", body: "c" });
    assert.deepEqual([nobody.status, nobody.body.delivered_to], [202, 0]);
    httpRefused(await scene.as(alice, "POST", path, body), 403, "forbidden");
    for (const field of ["kind", "title", "body"]) {
      const refusal = await scene.service("POST", path, { ...body, [field]: undefined });
      httpRefused(refusal, 400, "validation_failed", ["errors"]);
      assert.ok(refusal.body.error.errors[field]);
    }
  });
});
