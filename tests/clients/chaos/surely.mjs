// A client as one writes it who must lose nothing: it sends until acknowledged, and says what it saw when it comes back.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { until } from "../wait.mjs";

/** A client's options by which it finds a living gateway at each connect, as behind a balancer, `first` while that lives. */
export function balanced(cluster, first) {
  return {
    gateway: first.url,
    via: () => (first.exited ? cluster.gateways[0] : first.url),
  };
}

/** Sends until acknowledged: one `client_random`, again and again. */
export async function sendSurely(joined, content, client_random = randomUUID()) {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      return await joined.push("send_message", { message_type: "text", content, client_random }, 9000);
    } catch (error) {
      const again = error.response ? ["unavailable", "rate_limit_exceeded"].includes(error.response.reason) : true;
      if (!again || performance.now() > deadline) throw error;
      await until(() => joined.channel.isJoined(), { timeout: 20_000, what: `${joined.topic} to be joined again` });
    }
  }
}

/** A member's screen: messages as `[seq, id]`, from broadcasts and from the joins' replies, in `seen`. */
export async function screen(client, id) {
  const seen = [];
  const add = ({ seq, id: message_id }) => seen.push([seq, message_id]);
  const joined = await client.join(`conversation:${id}`, () => ({ last_seq: seen.length }), (channel) => {
    channel.on("new_message", add);
    channel.joinPush.receive("ok", ({ messages }) => messages.forEach(add));
  });
  return Object.assign(joined, { seen });
}

/** Every acknowledged message is on the screen once, in order, and nothing else is. */
export async function shows(joined, replies, timeout = 40_000) {
  await until(() => joined.seen.length >= replies.length, { timeout, what: () => `${replies.length} messages, not ${joined.seen.length}` });
  const wanted = replies.map(({ seq, message_id }) => [seq, message_id]).sort(([x], [y]) => x - y);
  assert.deepEqual(wanted.map(([seq]) => seq), wanted.map((_, n) => n + 1), "no gap and no repeat");
  assert.deepEqual(joined.seen, wanted);
}

/** Pushes once; how it was answered, `{reason, response, took}`, `reason` being "ok" where it was; in 8 s or it fails. */
export async function answered(joined, event, payload) {
  const began = performance.now();
  const outcome = await joined.push(event, payload).then(
    (response) => ({ reason: "ok", response }),
    (error) => {
      if (!error.response) throw error;
      return { reason: error.response.reason, response: error.response };
    },
  );
  const took = performance.now() - began;
  assert.ok(took < 8500, `${event} was answered ${outcome.reason} after ${Math.round(took)} ms`);
  return { ...outcome, took };
}

/** A text message's payload with a fresh `client_random`. */
export const text = (content) => ({ message_type: "text", content, client_random: randomUUID() });
