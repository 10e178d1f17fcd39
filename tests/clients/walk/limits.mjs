// Limits: what is past them is refused with its reason, and what is within goes on.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { Raw } from "../client.mjs";
import { refused } from "../shapes.mjs";
import { http, made, suite, token, walk } from "../support.mjs";

/** How long a push may wait for those before it. */
const PATIENCE_MS = 7_000;

suite("limits", () => {
  walk("a burst of messages past the user's rate is refused with the seconds to wait", async (scene) => {
    const alice = scene.user("alice");
    const [a] = await scene.joined([alice], await scene.group([alice]));
    const began = Date.now();
    const outcomes = await Promise.all(Array.from({ length: 200 }, (_, n) =>
      a.send(`m${n}`).then(() => null, (error) => error.response ?? Promise.reject(error))));
    // The pushes of a channel are taken one after the other: on a slow machine the last ones may wait for too long.
    const late = outcomes.filter((refusal) => refusal?.reason === "unavailable");
    assert.ok(late.length === 0 || Date.now() - began >= PATIENCE_MS, `${JSON.stringify(late[0])} without having waited`);
    const refusals = outcomes.filter((refusal) => refusal && !late.includes(refusal));
    const accepted = outcomes.length - refusals.length - late.length;
    // A slow store stretches them over seconds.
    const most = 61 + Math.ceil(((Date.now() - began) / 1000) * 20);
    assert.ok(accepted + late.length >= 60 && accepted <= Math.min(most, 200), `a burst of 60 and 20 a second, not ${accepted}`);
    assert.ok(most > 200 || refusals.length > 0, "something is refused");
    for (const refusal of refusals) {
      refused(refusal, "rate_limit_exceeded", ["retry_after"]);
      assert.ok(refusal.retry_after > 0 && refusal.retry_after <= 10, `${refusal.retry_after}`);
    }
    const { body } = await scene.as(alice, "GET", a.topic.replace("conversation:", "/api/v1/conversations/"));
    assert.ok(body.last_seq >= accepted && body.last_seq <= accepted + late.length, "what is refused is not there");
  });

  walk("typing past its rate is refused, and messages have a rate of their own", async (scene) => {
    const alice = scene.user("alice");
    const [a] = await scene.joined([alice], await scene.group([alice]));
    const outcomes = await Promise.all(Array.from({ length: 60 }, () =>
      a.push("typing_start").then(() => null, (error) => error.response)));
    const refusals = outcomes.filter(Boolean);
    assert.ok(refusals.length >= 20, `${refusals.length} of 60 refused`);
    refusals.forEach((refusal) => refused(refusal, "rate_limit_exceeded", ["retry_after"]));
    await a.send("fine");
  });

  walk("by HTTP the answer is 429 with Retry-After", async (scene) => {
    const alice = scene.user("alice");
    const id = await scene.group([alice]);
    const gateway = scene.gateway(0);
    const posts = await Promise.all(Array.from({ length: 150 }, () =>
      http(gateway, "POST", `/api/v1/conversations/${id}/messages`, {
        token: token(alice), body: { message_type: "text", content: "x", client_random: randomUUID() },
      })));
    const over = posts.filter(({ status }) => status === 429);
    assert.ok(over.length > 0, `of ${posts.map(({ status }) => status)}`);
    for (const { body, headers } of over) {
      refused(body.error, "rate_limit_exceeded", ["retry_after"]);
      assert.match(headers.get("retry-after"), /^[1-9]\d*$/);
    }
  });

  walk("one more socket than a user may have is refused with 429", async (scene) => {
    const alice = scene.user("alice");
    const gateway = scene.gateway(0);
    for (let n = 0; n < 20; n += 1) await scene.raw(alice, { gateway });
    const more = new Raw(gateway, { token: token(alice) });
    await assert.rejects(more.opened, (error) => error.status === 429);
    await scene.raw(scene.user("bob"), { gateway });
  });

  walk("a socket holds a hundred channels and not one more", async (scene) => {
    const alice = scene.user("alice");
    const ids = Array.from({ length: 101 }, () => randomUUID());
    // Several services, for their calls have a rate, too.
    await Promise.all([0, 1, 2, 3].map(async (lane) => {
      const bearer = token(`${scene.user("billing")}-${lane}`, { service: true });
      for (let n = lane; n < ids.length; n += 4) {
        const body = { id: ids[n], type: "group", member_ids: [alice] };
        await made(() => http(scene.gateway(), "POST", "/api/v1/conversations", { token: bearer, body }));
      }
    }));
    const client = await scene.client(alice);
    const joined = await Promise.all(ids.slice(0, 100).map((id) => client.join(`conversation:${id}`)));
    refused(await client.refusedJoin(`conversation:${ids[100]}`), "too_many_channels");
    await joined[0].leave();
    const last = await client.join(`conversation:${ids[100]}`);
    await last.send("room again");
  });
});
