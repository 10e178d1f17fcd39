// Pages while others write: whoever follows them misses nothing that was there, and sees nothing twice.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { suite, walk } from "../support.mjs";
import { together, until } from "../wait.mjs";

const CONVERSATIONS = "/api/v1/conversations";
/** Messages or conversations on a page. */
const LIMIT = 4;

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

/** A message of `sender`'s by a service, whose calls have no rate. */
async function post(scene, sender, id) {
  const body = { message_type: "text", content: "x", client_random: randomUUID(), sender_id: sender };
  const sent = await scene.service("POST", `${CONVERSATIONS}/${id}/messages`, body);
  assert.equal(sent.status, 201, JSON.stringify(sent.body));
  return sent.body.seq;
}

/** A page read while others write, some of it before the answer and all of it before the next page. */
async function beside(writes, page) {
  const [read] = await together([page(), ...Array.from({ length: 3 }, writes)]);
  return read;
}

/** A group of alice and bob with so many messages, and how bob reads a page of it. */
async function log(scene, messages) {
  const [alice, bob] = [scene.user("alice"), scene.user("bob")];
  const id = await scene.group([alice, bob]);
  for (let n = 0; n < messages; n += 1) await post(scene, alice, id);
  const page = async (query) => {
    const { status, body } = await scene.as(bob, "GET", `${CONVERSATIONS}/${id}/messages?limit=${LIMIT}${query}`);
    assert.equal(status, 200, JSON.stringify(body));
    return { seqs: body.messages.map(({ seq }) => seq), more: body.has_more };
  };
  return { page, write: () => post(scene, alice, id) };
}

suite("paging while others write", () => {
  walk("history read forward is every message once, and comes to an end", async (scene) => {
    const there = 5 * LIMIT;
    const { page, write } = await log(scene, there);
    const seen = [];
    while (seen.length < there) seen.push(...(await beside(write, () => page(`&after_seq=${seen.at(-1) ?? 0}`))).seqs);
    for (let more = true; more; ) {
      const next = await page(`&after_seq=${seen.at(-1)}`);
      seen.push(...next.seqs);
      ({ more } = next);
    }
    assert.ok(seen.length > there, "what was written meanwhile is there, too");
    assert.deepEqual(seen, range(1, seen.length));
    assert.deepEqual(await page(""), { seqs: seen.slice(-LIMIT), more: true }, "nothing is left out at the end");
  }, { webSocket: true });

  walk("history read backward is every message once that was there when it began", async (scene) => {
    const { page, write } = await log(scene, 5 * LIMIT);
    let seen = [];
    for (let more = true; more; ) {
      const next = await beside(write, () => page(seen.length > 0 ? `&before_seq=${seen[0]}` : ""));
      seen = [...next.seqs, ...seen];
      ({ more } = next);
    }
    assert.ok(seen.length >= 5 * LIMIT);
    assert.deepEqual(seen, range(1, seen.length));
  }, { webSocket: true });

  walk("the list is each conversation once; what becomes active meanwhile is found at its head", async (scene) => {
    const [alice, bob] = [scene.user("alice"), scene.user("bob")];
    const made = [];
    for (let n = 0; n < 4 * LIMIT; n += 1) made.push(await scene.group([alice, bob]));
    const list = async (query) => {
      const { status, body } = await scene.as(bob, "GET", `${CONVERSATIONS}?${query}`);
      assert.equal(status, 200, JSON.stringify(body));
      return { ids: body.conversations.map(({ id }) => id), next: body.next_cursor };
    };
    // The last of the list, and one that was shown already: both move to its head between two pages.
    const moved = [made[0], made.at(-1)];
    const first = await list(`limit=${LIMIT}`);
    const walked = [first.ids];
    const fresh = [];
    for (let { next } = first; next; ) {
      const conversation = moved[walked.length - 1];
      if (conversation) await post(scene, alice, conversation);
      else fresh.push(await scene.group([alice, bob]));
      const head = conversation ?? fresh.at(-1);
      await until(async () => (await list("limit=1")).ids[0] === head, { what: "the list to have another head" });
      const page = await list(`limit=${LIMIT}&cursor=${encodeURIComponent(next)}`);
      walked.push(page.ids);
      ({ next } = page);
    }
    const seen = walked.flat();
    assert.equal(new Set(seen).size, seen.length, "nothing twice");
    const stayed = made.filter((id) => !moved.includes(id)).reverse();
    assert.deepEqual(seen.filter((id) => !moved.includes(id)), stayed, "each that stayed, once, in its order");
    assert.deepEqual(fresh.filter((id) => seen.includes(id)), [], "what came later stands before what was read");
    assert.ok(walked.length >= 4 && fresh.length > 0, `${walked.length} pages`);

    // Whoever wants what moved, too, reads from the head to what did not.
    const again = [];
    for (let next = ""; next !== null && !again.includes(stayed[0]); ) {
      const page = await list(`limit=${LIMIT}&cursor=${encodeURIComponent(next)}`);
      again.push(...page.ids);
      ({ next } = page);
    }
    assert.deepEqual(new Set([...seen, ...again]), new Set([...made, ...fresh]));
  }, { webSocket: true });
});
