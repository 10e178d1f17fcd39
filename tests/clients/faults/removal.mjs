// What nobody was told of is found out, and does no harm meanwhile.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { wiredFor } from "../chaos/cluster.mjs";
import { answered, screen, sendSurely, shows, text } from "../chaos/surely.mjs";
import { isBroadcast } from "../network/nats.mjs";
import { http, token } from "../support.mjs";
import { holds, until } from "../wait.mjs";

/** A topic is looked at a second after its first join: what is lost after that waits for the next look. */
const FIRST_LOOK_MS = 3000;

const file = wiredFor({ before, after });

/** Everything that any worker says on this conversation's subject is lost. Answers how to end it. */
function loseBroadcasts(id) {
  const wires = file.cluster.workerPrograms.map(({ nats }) => nats);
  lost.add(id);
  for (const wire of wires) wire.lose((subject, direction) => direction === "up" && isBroadcast(subject) && lost.has(subject.split(".")[2]));
  return () => lost.delete(id);
}
const lost = new Set();

describe("a publish that is lost", { concurrency: true }, () => {
  test("a kick that nobody heard of closes the channel within 30 s, and nothing the member pushes meanwhile succeeds", { timeout: 90_000 }, async (t) => {
    const scene = file.scene(t);
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const a = await screen(await scene.client(alice, { gateway: scene.gateway(0) }), id);
    const client = await scene.client(bob, { gateway: scene.gateway(1) });
    const b = await screen(client, id);
    const replies = [await sendSurely(a, "before")];
    await shows(b, replies);
    let closed = false;
    b.channel.onClose(() => (closed = true));
    await holds(() => b.channel.isJoined(), FIRST_LOOK_MS);

    const heal = loseBroadcasts(id);
    t.after(heal);
    const removed = await scene.as(alice, "DELETE", `/api/v1/conversations/${id}/members/${bob}`);
    assert.equal(removed.status, 204, JSON.stringify(removed.body));
    const removedAt = performance.now();
    const message = { message_id: replies[0].message_id };
    const pushes = [
      ["send_message", () => text("still here?")], ["add_reaction", () => ({ ...message, reaction: "x" })],
      ["remove_reaction", () => ({ ...message, reaction: "x" })], ["mark_as_read", () => message],
    ];
    // Typing goes by the join and is best effort: it ends with the channel.
    const succeeded = new Set();
    let tried = 0;
    while (!closed && performance.now() - removedAt < 31_000) {
      for (const [event, payload] of pushes) {
        if (closed) break;
        // The reply may be overtaken by the channel's end.
        const { reason } = await Promise.race([answered(b, event, payload()), until(() => closed && { reason: "closed" }, { timeout: 9000 })]);
        tried += 1;
        if (reason === "ok") succeeded.add(event);
        else if (!["closed", "not_a_member", "unmatched topic"].includes(reason)) assert.fail(`${event}: ${reason}`);
      }
      const read = await http(scene.gateway(0), "GET", `/api/v1/conversations/${id}/messages`, { token: token(bob) });
      assert.equal(read.status, 404, "not by HTTP either");
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    t.diagnostic(`closed after ${Math.round(performance.now() - removedAt)} ms and ${tried} pushes`);
    assert.ok(closed, "the channel is closed within 30 s");
    assert.deepEqual([...succeeded], [], "no push succeeds");
    assert.equal((await client.refusedJoin(`conversation:${id}`)).reason, "not_a_member");
    heal();
    replies.push(await sendSurely(a, "alone"));
    await shows(a, replies);
    assert.equal(b.seen.length, 1, "nothing that came later");
  });

  test("a message that no later one betrays is on every screen within 30 s, and so is a reaction", { timeout: 90_000 }, async (t) => {
    const scene = file.scene(t);
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const a = await screen(await scene.client(alice, { gateway: scene.gateway(0) }), id);
    const b = await screen(await scene.client(bob, { gateway: scene.gateway(1) }), id);
    const replies = [await sendSurely(a, "before")];
    for (const joined of [a, b]) await shows(joined, replies);
    await holds(() => a.channel.isJoined() && b.channel.isJoined(), FIRST_LOOK_MS);
    t.after(loseBroadcasts(id));
    replies.push(await sendSurely(a, "into the void"));
    await a.push("add_reaction", { message_id: replies[0].message_id, reaction: "x" });
    const lostAt = performance.now();
    for (const joined of [a, b]) {
      await shows(joined, replies, 31_000);
      await joined.first("reaction_added", ({ reaction }) => reaction === "x", { timeout: 5000 });
    }
    t.diagnostic(`found after ${Math.round(performance.now() - lostAt)} ms`);
  });
});
