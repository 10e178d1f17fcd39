// A worker that neither works nor dies.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { wiredFor } from "../chaos/cluster.mjs";
import { answered, screen, shows, text } from "../chaos/surely.mjs";
import { until } from "../wait.mjs";

const file = wiredFor({ before, after });

test("a worker stopped by SIGSTOP costs its conversations one time-out, not one a command", { timeout: 120_000 }, async (t) => {
  const scene = file.scene(t);
  const alice = scene.user("alice");
  const client = await scene.client(alice);
  // Enough that each worker is preferred by some.
  const channels = [];
  for (let n = 0; n < 8; n += 1) channels.push(Object.assign(await screen(client, await scene.group([alice])), { replies: [], times: [] }));
  const send = async (joined, content) => {
    const { reason, response, took } = await answered(joined, "send_message", text(content));
    assert.equal(reason, "ok", `${content}: ${JSON.stringify(response)}`);
    joined.replies.push(response);
    joined.times.push(took);
  };
  await Promise.all(channels.map((joined) => send(joined, "before")));

  const [victim] = file.cluster.workerPrograms;
  file.cluster.freeze(victim);
  t.after(() => file.cluster.thaw(victim));
  // One after the other on each, for longer than it takes to miss its heartbeats.
  await Promise.all(channels.map(async (joined) => {
    for (let n = 0; n < 6; n += 1) await send(joined, `frozen ${n}`);
  }));
  const slow = channels.map(({ times }) => times.filter((took) => took > 2000).length);
  t.diagnostic(`slow sends by conversation: ${slow}; the slowest took ${Math.round(Math.max(...channels.flatMap(({ times }) => times)))} ms`);
  assert.ok(slow.some((count) => count === 1), "some were the frozen worker's");
  assert.ok(slow.every((count) => count <= 1), `one time-out each at most, not ${slow}`);

  // Back, it takes its own again, and what it held is too late to do harm.
  file.cluster.thaw(victim);
  for (let n = 0; n < 3; n += 1) await Promise.all(channels.map((joined) => send(joined, `thawed ${n}`)));
  for (const joined of channels) await shows(joined, joined.replies);
  assert.deepEqual(client.closes, []);
});

test("reactions added and removed while a worker is frozen stay as they were last set, also when it wakes", { timeout: 120_000 }, async (t) => {
  const scene = file.scene(t);
  const alice = scene.user("alice");
  const client = await scene.client(alice);
  const channels = [];
  for (let n = 0; n < 6; n += 1) {
    const id = await scene.group([alice]);
    const joined = await screen(client, id);
    const { response } = await answered(joined, "send_message", text("react to me"));
    channels.push(Object.assign(joined, { id, message_id: response.message_id }));
  }
  const [victim] = file.cluster.workerPrograms;
  file.cluster.freeze(victim);
  t.after(() => file.cluster.thaw(victim));
  await Promise.all(channels.map(async (joined) => {
    const reaction = { message_id: joined.message_id, reaction: "👍" };
    for (const event of ["add_reaction", "remove_reaction"]) assert.equal((await answered(joined, event, reaction)).reason, "ok");
  }));
  file.cluster.thaw(victim);
  // It serves again: what it found in its queue is behind it.
  await until(async () => {
    const sent = await Promise.all(channels.map((joined) => answered(joined, "send_message", text("after"))));
    return sent.every(({ reason }) => reason === "ok");
  });
  for (const { id, message_id } of channels) {
    const { body } = await scene.as(alice, "GET", `/api/v1/conversations/${id}/messages?limit=50`);
    assert.deepEqual(body.messages.find((message) => message.id === message_id).reactions ?? {}, {});
  }
});
