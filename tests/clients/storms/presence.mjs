// Hundreds of members of one channel come and go at random on two gateways; in the end every list is the same.
// SIMURGH_TEST_MEMBERS is how many there are (500), SIMURGH_TEST_SEED draws who comes and goes.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";

import { Chance } from "../chaos/chance.mjs";
import { wiredFor } from "../chaos/cluster.mjs";
import { Raw } from "../client.mjs";
import { Presence } from "../phoenix.mjs";
import { token } from "../support.mjs";
import { until } from "../wait.mjs";

const MEMBERS = Number(process.env.SIMURGH_TEST_MEMBERS ?? 500);
/** Some show it by phoenix.js; its Presence copies the whole list with every diff, so not all can. */
const SHOWING = 10;
/** Comings and goings after everybody has come. */
const CHANGES = 600;
const AT_ONCE = 40;

const file = wiredFor({ before, after }, { env: { SIMURGH_RATE_CONNECTS_PER_ADDRESS: "0" } });
// Once, its process went on for minutes after its case had passed and its servers were gone; it is not known why.
after(() => setTimeout(() => process.exit(), 5_000).unref());

/** A member with a bare socket, which keeps the list as phoenix.js does: metas by their refs. */
class Member {
  metas = new Map();
  turn = 0;

  constructor(user, topic) {
    Object.assign(this, { user, topic });
  }

  async come(gateway) {
    const [raw, ref] = [new Raw(gateway, { token: token(this.user) }), `${(this.turn += 1)}`];
    await raw.opened;
    this.metas.clear();
    raw.socket.on("message", () => this.#heard(raw.frames.pop()));
    this.raw = raw;
    this.joined = new Promise((resolve) => (this.stated = resolve));
    raw.send([ref, ref, this.topic, "phx_join", {}]);
    await this.joined;
  }

  #heard([, , , event, payload]) {
    if (event === "phx_reply" && payload.status !== "ok") this.wrong = JSON.stringify(payload);
    if (event === "presence_state") {
      this.metas.clear();
      this.#add(payload);
      this.stated();
    }
    if (event === "presence_diff") {
      this.#add(payload.joins);
      for (const { metas } of Object.values(payload.leaves)) for (const { phx_ref } of metas) this.metas.delete(phx_ref);
    }
  }

  #add(users) {
    for (const [user, { metas }] of Object.entries(users)) for (const { phx_ref } of metas) this.metas.set(phx_ref, user);
  }

  /** Takes leave, or is just gone. */
  async go(politely) {
    const { raw } = this;
    this.raw = undefined;
    if (politely) raw.send([`${this.turn}`, "leave", this.topic, "phx_leave", {}]);
    await raw.close();
  }

  get list() {
    return [...this.metas.values()].sort();
  }
}

test(`${MEMBERS} members come and go at random: every list ends the same`, { timeout: 240_000 }, async (t) => {
  const scene = file.scene(t);
  const seed = Number(process.env.SIMURGH_TEST_SEED ?? 1);
  const chance = new Chance(seed);
  const users = Array.from({ length: MEMBERS }, (_, n) => scene.user(`member${n}`));
  const watching = users.splice(0, SHOWING);
  // It rolls forward: what an attempt did not get done, the next one finds.
  const group = { id: randomUUID(), type: "group", member_ids: [...watching, ...users] };
  const id = (await until(async () => {
    const made = await scene.service("POST", "/api/v1/conversations", group);
    return made.status < 300 && made.body;
  }, { timeout: 60_000, what: "the group to be made" })).id;
  const topic = `conversation:${id}`;
  const began = performance.now();

  const shown = [];
  for (const user of watching) {
    await (await scene.client(user)).join(topic, {}, (channel) => shown.push(new Presence(channel)));
  }
  const members = users.map((user) => new Member(user, topic));
  t.after(() => Promise.all(members.map((member) => member.raw?.close())));
  const gateways = scene.gateways;
  for (let at = 0; at < members.length; at += AT_ONCE) {
    await Promise.all(members.slice(at, at + AT_ONCE).map((member) => member.come(chance.pick(gateways))));
  }
  for (let change = 0; change < CHANGES; change += AT_ONCE) {
    const some = new Set(Array.from({ length: AT_ONCE }, () => chance.pick(members)));
    await Promise.all([...some].map((member) => (member.raw ? member.go(chance.pick([true, false])) : member.come(chance.pick(gateways)))));
  }

  const there = members.filter(({ raw }) => raw);
  const expected = [...watching, ...there.map(({ user }) => user)].sort();
  const isRight = (list) => list.length === expected.length && list.every((user, at) => user === expected[at]);
  const showing = () => shown.map((presence) => presence.list((user, { metas }) => metas.map(() => user)).flat().sort());
  const wrong = () => [...there.map(({ list }) => list), ...showing()].filter((list) => !isRight(list));
  await until(() => wrong().length === 0, { timeout: 30_000, what: () => `every list to be right: ${wrong().length} are not (seed ${seed}); there are ${expected.length}, shown ${wrong()[0]?.length}` });
  assert.deepEqual(members.filter((member) => member.wrong), []);
  // What the server says to whoever comes now, on either gateway.
  for (const gateway of gateways) {
    const late = new Member(watching[0], topic);
    await late.come(gateway);
    const all = [...expected, watching[0]].sort().join();
    await until(() => late.list.join() === all, { what: () => `a list of ${expected.length + 1}, not ${late.list.length}` });
    await late.go(true);
  }
  t.diagnostic(`${there.length + SHOWING} were there in the end, after ${Math.round(performance.now() - began)} ms`);
});
