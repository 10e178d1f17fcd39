// Who is there, when gateways die, freeze, or lose a socket for a moment.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Presence } from "../phoenix.mjs";

import { wiredFor } from "../chaos/cluster.mjs";
import { holds, until } from "../wait.mjs";

// One to die, one to freeze, two that stay.
const file = wiredFor({ before, after }, { gateways: 4 });

/** Binds phoenix.js' Presence; `who()` is `{user: number of metas}`. */
function watcher() {
  const seen = { who: () => Object.fromEntries(seen.presence.list((user, { metas }) => [user, metas.length])) };
  seen.bind = (channel) => (seen.presence = new Presence(channel));
  return seen;
}

/** The one who is watched, and watchers on other gateways; they share a conversation and she has added them. */
async function watched(t, home, others, { on = home } = {}) {
  const scene = file.scene(t);
  // Not by those that other cases kill and freeze meanwhile.
  scene.gateways = others.map(({ url }) => url);
  const alice = scene.user("alice");
  const names = others.map((_, n) => scene.user(`watcher${n}`));
  const id = await scene.group([alice, ...names]);
  const watchers = [];
  for (const [n, name] of names.entries()) {
    const added = await scene.as(alice, "PUT", `/api/v1/contacts/${name}`);
    assert.equal(added.status, 204, JSON.stringify(added.body));
    const client = await scene.client(name, { gateway: others[n].url });
    const [among, inside] = [watcher(), watcher()];
    const own = await client.joinOwn(among.bind);
    const joined = await client.join(`conversation:${id}`, {}, inside.bind);
    watchers.push({ name, client, own, joined, among, inside });
  }
  const client = await scene.client(alice, { gateway: home.url, via: () => on.url });
  const own = await client.joinOwn();
  const joined = await client.join(`conversation:${id}`);
  for (const { among, inside } of watchers) {
    await until(() => among.who()[alice] === 1 && inside.who()[alice] === 1, { what: "alice to be seen" });
  }
  return { scene, alice, id, watchers, client, own, joined };
}

const status = async ({ scene, alice, watchers }) => (await scene.as(watchers[0].name, "GET", `/api/v1/users/${alice}/presence`)).body.status;

describe("presence", { concurrency: true }, () => {
  test("the users of a killed gateway are offline everywhere within 20 s", { timeout: 60_000 }, async (t) => {
    const [stays, other, dies] = file.cluster.gatewayPrograms;
    // She comes back nowhere: the gateway that she connects to again is gone.
    const story = await watched(t, dies, [stays, other]);
    const { alice, watchers } = story;
    await dies.kill();
    const killed = performance.now();
    for (const { own, joined, among, inside } of watchers) {
      const left = () => Math.max(0, 20_500 - (performance.now() - killed));
      await joined.first("user_left", ({ user_id }) => user_id === alice, { timeout: left() });
      await own.first("user_presence_changed", ({ user_id, status: now }) => user_id === alice && now === "offline", { timeout: left() });
      await until(() => !(alice in among.who()) && !(alice in inside.who()), { timeout: left(), what: "alice to go" });
    }
    t.diagnostic(`offline everywhere after ${Math.round(performance.now() - killed)} ms`);
    assert.equal(await status({ ...story, scene: Object.assign(story.scene, { gateways: [stays.url, other.url] }) }), "offline");
  });

  test("a gateway frozen past its lease and back leaves nobody missing and nobody twice", { timeout: 90_000 }, async (t) => {
    const [stays, other, , freezes] = file.cluster.gatewayPrograms;
    const story = await watched(t, freezes, [stays, other]);
    const { alice, watchers, client, scene } = story;
    scene.gateways = [stays.url, other.url];
    // Somebody else on that gateway watches from inside.
    const dora = watchers[0].name;
    const inside = watcher();
    const within = await scene.client(dora, { gateway: freezes.url });
    await within.join(`conversation:${story.id}`, {}, inside.bind);
    await until(() => watchers[1].inside.who()[dora] === 2, { what: "two of her" });

    file.cluster.freeze(freezes);
    t.after(() => file.cluster.thaw(freezes));
    for (const { own, joined } of watchers) {
      await joined.first("user_left", ({ user_id }) => user_id === alice, { timeout: 21_000 });
      await own.first("user_presence_changed", ({ user_id, status: now }) => user_id === alice && now === "offline", { timeout: 5000 });
    }
    file.cluster.thaw(freezes);
    const thawed = performance.now();
    const wrong = () => watchers.flatMap(({ name, among, inside: there }) => (
      among.who()[alice] === 1 && there.who()[alice] === 1 && there.who()[dora] === 2 && Object.keys(there.who()).length === 3
        ? [] : [`${name}: ${JSON.stringify([among.who(), there.who()])}`]));
    await until(() => wrong().length === 0 && Object.keys(inside.who()).length === 3, { timeout: 5500, what: () => `alice to be seen again: ${wrong()}; inside ${JSON.stringify(inside.who())}` });
    t.diagnostic(`everybody seen again after ${Math.round(performance.now() - thawed)} ms`);
    await holds(() => wrong().length === 0, 2000, () => `it to stay so: ${wrong()}`);
    assert.deepEqual(client.closes, [], "her socket is the same");
    assert.equal(await status(story), "online");
  });

  for (const elsewhere of [false, true]) {
    test(`who is back within 3 s on ${elsewhere ? "another" : "the same"} gateway was never gone`, { timeout: 60_000 }, async (t) => {
      const [stays, other] = file.cluster.gatewayPrograms;
      const home = { url: other.url };
      const { alice, watchers, client, joined } = await watched(t, other, [stays, other], { on: home });
      const before = watchers.map(({ own, joined: there }) => [own.log.length, there.log.length]);
      if (elsewhere) home.url = stays.url;
      client.drop();
      await until(() => client.closes.length > 0 && joined.channel.isJoined() && joined.all("presence_state").length === 2, { what: "alice to be back" });
      const told = () => watchers.flatMap(({ own, joined: there }, n) => [...own.log.slice(before[n][0]), ...there.log.slice(before[n][1])])
        .filter(({ event, payload }) => /^user_(joined|left|presence_changed)$/.test(event) && payload.user_id === alice);
      await holds(() => told().length === 0, 5000, () => `silence, not ${JSON.stringify(told())}`);
      for (const { among, inside } of watchers) {
        assert.equal(among.who()[alice], 1);
        assert.equal(inside.who()[alice], 1);
      }
    });
  }
});
