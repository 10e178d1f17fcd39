// A member's own settings of a conversation: muting it.

import assert from "node:assert/strict";

import { fields, httpRefused, invalid, recent } from "../shapes.mjs";
import { suite, walk } from "../support.mjs";

const settings = (id) => `/api/v1/conversations/${id}/settings`;
const FAR = "9999-12-31T23:59:59.999Z";

suite("settings", () => {
  walk("a member mutes a conversation for itself, and its list and devices say so", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const id = await scene.group([alice, bob]);
    const owns = [];
    for (const user of [alice, bob]) owns.push(await (await scene.client(user)).joinOwn());
    const listed = async (user) => (await scene.as(user, "GET", "/api/v1/conversations")).body.conversations[0].settings;
    const answer = await scene.as(alice, "GET", settings(id));
    assert.equal(answer.status, 200);
    fields(answer.body, { conversation_id: id, muted_until: null });
    const muted = await scene.as(alice, "PATCH", settings(id), { muted_until: FAR, colour: "ignored" });
    assert.equal(muted.status, 200);
    fields(muted.body, { conversation_id: id, muted_until: FAR });
    const update = await owns[0].first("conversation_updated", ({ change }) => change === "settings");
    fields(update, { conversation_id: id, change: "settings", user_id: alice, updated_at: recent });
    assert.deepEqual([await listed(alice), await listed(bob)], [{ muted_until: FAR }, { muted_until: null }]);
    const [a] = await scene.joined([bob], id);
    await a.send("said all the same");
    await owns[0].first("new_message");
    assert.deepEqual(owns[1].all("conversation_updated", ({ change }) => change === "settings"), []);
    for (const muted_until of [new Date(0).toISOString(), null]) {
      fields((await scene.as(alice, "PATCH", settings(id), { muted_until })).body, { conversation_id: id, muted_until: null });
    }
    assert.deepEqual(await listed(alice), { muted_until: null });
  });

  walk("settings are a member's own; a service names the member", async (scene) => {
    const [alice, bob, mallory] = ["alice", "bob", "mallory"].map((name) => scene.user(name));
    const id = await scene.group([alice, bob]);
    httpRefused(await scene.as(mallory, "GET", settings(id)), 404, "not_a_member");
    httpRefused(await scene.as(mallory, "PATCH", settings(id), { muted_until: FAR }), 404, "not_a_member");
    httpRefused(await scene.as(bob, "PATCH", `${settings(id)}?user_id=${alice}`, { muted_until: FAR }), 403, "forbidden");
    httpRefused(await scene.service("GET", settings(id)), 400, "validation_failed", ["errors"]);
    const muted = await scene.service("PATCH", `${settings(id)}?user_id=${bob}`, { muted_until: FAR });
    assert.equal(muted.body.muted_until, FAR);
    assert.equal((await scene.as(bob, "GET", settings(id))).body.muted_until, FAR);
    for (const body of [{}, { muted_until: "tomorrow" }, { muted_until: 7 }, { muted_until: {} }]) {
      const refusal = await scene.as(alice, "PATCH", settings(id), body);
      httpRefused(refusal, 400, "validation_failed", ["errors"]);
      invalid(refusal.body.error, "muted_until");
    }
    assert.equal((await scene.as(alice, "GET", settings(id))).body.muted_until, null);
  });
});
