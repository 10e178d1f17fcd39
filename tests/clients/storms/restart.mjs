// One of two gateways is restarted with many sockets on it. SIMURGH_TEST_SOCKETS is how many there are (300).

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Chance } from "../chaos/chance.mjs";
import { Balancer, wiredFor } from "../chaos/cluster.mjs";
import { quantile } from "../chaos/figures.mjs";
import { Screen, caller } from "../chaos/screen.mjs";
import { Answers } from "../chaos/transport.mjs";
import { history, judgeScreen } from "../chaos/verdict.mjs";
import { Client } from "../client.mjs";
import { token } from "../support.mjs";
import { until } from "../wait.mjs";

const SOCKETS = Number(process.env.SIMURGH_TEST_SOCKETS ?? 300);
/** Joins a second on each gateway, and its burst: so few that without pacing the storm would go far beyond. */
const RATE = Math.max(20, Math.round(SOCKETS / 40));
const BURST = Math.round(RATE / 2);
const PER_CONVERSATION = 50;
/** Between messages, over all conversations: this process, which stands for all the clients, has to keep up with them. */
const EACH_MS = 25;

const file = wiredFor({ before, after }, {
  env: { SIMURGH_RATE_GATEWAY_JOINS: `${RATE}:${BURST}`, SIMURGH_DRAIN_WINDOW: "2s" },
});

/** The most joins that one gateway answered ok within any second. */
function peak(joins) {
  const times = joins.map(({ answered }) => answered).sort((x, y) => x - y);
  let most = 0;
  for (let first = 0, last = 0; last < times.length; last += 1) {
    while (times[last] - times[first] > 1000) first += 1;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** A client for each user, in one conversation with those next to it, on whichever gateway the balancer picks. */
async function crowd(scene, balancer, answers) {
  const users = Array.from({ length: SOCKETS }, (_, n) => scene.user(`user${n}`));
  const screens = [];
  for (let at = 0; at < SOCKETS; at += PER_CONVERSATION) {
    const members = users.slice(at, at + PER_CONVERSATION);
    const id = await scene.group(members);
    for (const user of members) {
      const bearer = () => token(user);
      const pick = () => balancer.pick();
      const client = new Client(user, {
        gateway: pick().url, token: bearer, transport: answers.transport(pick),
        reconnectAfterMs: (tries) => 100 * tries, rejoinAfterMs: (tries) => 500 * tries,
      });
      screens.push(new Screen(client, id, caller(pick, bearer)));
    }
  }
  return screens;
}

test(`a restart of one of two gateways with ${SOCKETS} sockets: everybody is back, nothing is missed, joins are paced`, { timeout: 600_000 }, async (t) => {
  const scene = file.scene(t);
  const balancer = await new Balancer(file.cluster, new Chance(1)).start();
  const answers = new Answers();
  const screens = await crowd(scene, balancer, answers);
  t.after(async () => {
    balancer.stop();
    await Promise.all(screens.map(({ client }) => client.close()));
  });
  const allIn = () => screens.every(({ channel }) => channel.isJoined());
  for (const screen of screens) {
    screen.client.socket.connect();
    screen.join();
  }
  await until(allIn, { timeout: 30_000 + (SOCKETS / RATE) * 2000, what: () => `all to be in, not ${screens.filter(({ channel }) => channel.isJoined()).length}` });

  // Somebody talks in every conversation all the while.
  const ids = [...new Set(screens.map(({ id }) => id))];
  let over = false;
  const talks = ids.map(async (id, n) => {
    let sent = 0;
    while (!over) {
      const { status } = await scene.service("POST", `/api/v1/conversations/${id}/messages`, { sender_id: screens[n * PER_CONVERSATION].client.user, message_type: "text", content: `${sent}`, client_random: sent }, {}).catch(() => ({ status: 0 }));
      if (status === 201 || status === 200) sent += 1;
      await new Promise((resolve) => setTimeout(resolve, Math.max(100, EACH_MS * ids.length)));
    }
    return sent;
  });

  const [goes, stays] = file.cluster.gatewayPrograms;
  scene.gateways = [stays.url];
  const moving = screens.filter(({ client }) => client.socket.conn.gateway === goes.url);
  const told = performance.now();
  goes.signal("SIGTERM");
  assert.deepEqual(await goes.ended(30_000), { code: 0, signal: null });
  await file.cluster.restart(goes);
  await until(() => allIn() && moving.every(({ joins }) => joins > 1), { timeout: 60_000 + (SOCKETS / RATE) * 2000, what: () => `all to be back, not ${screens.filter(({ channel }) => channel.isJoined()).length}` });
  const took = performance.now() - told;
  over = true;
  await Promise.all(talks);

  for (const id of ids) {
    const there = screens.filter((screen) => screen.id === id);
    const stored = await history(stays.url, there[0].client.user, id);
    assert.ok(stored.length > 0);
    await until(() => there.every(({ last }) => last === stored.length), { timeout: 35_000, what: "every screen to be complete" });
    for (const screen of there) assert.deepEqual(judgeScreen(screen, stored).lines, []);
  }
  const joins = answers.pushes.filter(({ event, status, answered, gateway }) => event === "phx_join" && status === "ok" && answered > told && gateway === stays.url);
  t.diagnostic(`${moving.length} of ${SOCKETS} sockets moved; all were back after ${Math.round(took)} ms`);
  t.diagnostic(`${joins.length} joins on the gateway that stayed, at most ${peak(joins)} in a second; allowed are ${RATE}/s and ${BURST} at once`);
  t.diagnostic(`a join took ${Math.round(quantile(joins.map(({ at, answered }) => answered - at), 0.5))} ms (median); refused: ${JSON.stringify(answers.refusals())}`);
  assert.ok(moving.length > SOCKETS / 4, "many sockets moved");
  // Turns are given to joins as they begin; where the workers are held up, answers bunch a little.
  assert.ok(peak(joins) <= (RATE + BURST) * 1.5, `joins are paced: ${peak(joins)} in a second`);
  const span = (Math.max(...joins.map(({ answered }) => answered)) - Math.min(...joins.map(({ answered }) => answered))) / 1000;
  assert.ok(span >= ((joins.length - BURST) / RATE) * 0.9, `${joins.length} joins take their time: ${span.toFixed(1)} s`);
  assert.deepEqual(answers.closes.filter(({ code, at }) => at > told && at < told + took && code !== 1012), [], "sockets are told to come back elsewhere");
});
