// Peers that never read, send half a frame, flood, or open and close at once: they cost the gateway a bounded memory
// and the others nothing but time. SIMURGH_TEST_SECONDS is how long they go on (10); by hand, 60 make a figure.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { wiredFor } from "../chaos/cluster.mjs";
import { quantile } from "../chaos/figures.mjs";
import { screen, sendSurely, shows } from "../chaos/surely.mjs";
import { Program } from "../processes.mjs";

const SECONDS = Number(process.env.SIMURGH_TEST_SECONDS ?? 10);
/** Of each of the five kinds. */
const EACH = 8;
/** Beyond what it needs for the good ones: each bad socket's unsent bytes, its frame under way and its buffers. */
const PER_SOCKET_BYTES = 256 * 1024 + 2 * 128 * 1024;
/** The allocator's own, and rates and topics of users that come and go. */
const SLACK_BYTES = 48 * 1024 * 1024;

// Low rates: what is beyond them must be cheap, and what is within them is work like anybody's.
const file = wiredFor({ before, after }, { env: { SIMURGH_RATE_JOINS: "2:5", SIMURGH_RATE_PUSHES: "5:10" } });

/** A process's resident memory, in bytes. */
const resident = ({ pid }) => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;

/** Everybody sends, one message after the other, for so long; `{response, took}` of each, `took` in ms with retries. */
async function talk(channels, seconds) {
  const end = performance.now() + seconds * 1000;
  const sent = await Promise.all(channels.map(async (joined) => {
    const own = [];
    while (performance.now() < end) {
      const began = performance.now();
      const response = await sendSurely(joined, "x".repeat(4000));
      own.push({ response, took: performance.now() - began });
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    return own;
  }));
  assert.ok(sent.every((own) => own.length > 0), "everybody gets on");
  return sent.flat();
}

test(`${EACH * 5} bad peers on a gateway: its memory is bounded, the others go on and lose nothing`, { timeout: 120_000 + SECONDS * 3000 }, async (t) => {
  const scene = file.scene(t);
  const [gateway] = file.cluster.gatewayPrograms;
  const good = Array.from({ length: 6 }, (_, n) => scene.user(`good${n}`));
  const bad = Array.from({ length: EACH * 5 }, (_, n) => scene.user(`bad${n}`));
  const [id, theirs] = [await scene.group(good), await scene.group([good[0], ...bad])];
  const channels = [];
  const clients = [];
  for (const user of good) {
    clients.push(await scene.client(user, { gateway: gateway.url }));
    channels.push(await screen(clients.at(-1), id));
  }
  // One good member feeds those who do not read.
  const feeding = await clients[0].join(`conversation:${theirs}`);
  const quiet = await talk(channels, SECONDS / 2);
  const before = resident(gateway);

  const script = fileURLToPath(new URL("../chaos/bad_peers.mjs", import.meta.url));
  const peers = new Program("bad-peers", process.execPath, [script, gateway.url, theirs, ...bad], { dir: file.cluster.dir });
  t.after(() => peers.kill());
  let most = before;
  const watch = setInterval(() => (most = Math.max(most, resident(gateway))), 100);
  t.after(() => clearInterval(watch));
  const [beset] = await Promise.all([talk(channels, SECONDS), talk([feeding], SECONDS)]);
  assert.equal(peers.exited, undefined, "they went on to the end");
  peers.signal("SIGTERM");
  await peers.ended();
  const did = JSON.parse(peers.stdout);

  const p99 = (sends) => quantile(sends.map(({ took }) => took), 0.99);
  t.diagnostic(`they did: ${JSON.stringify(did)}`);
  t.diagnostic(`resident before ${Math.round(before / 1024)} KiB, at most ${Math.round(most / 1024)} KiB`);
  t.diagnostic(`acknowledged: p99 ${Math.round(p99(quiet))} ms without them (${quiet.length}), ${Math.round(p99(beset))} ms with them (${beset.length}): ${(p99(beset) / p99(quiet)).toFixed(1)} times`);
  for (const kind of ["unread", "opened", "halves", "joins", "floods", "refused"]) assert.ok(did[kind] > 0, `${kind}: ${JSON.stringify(did)}`);
  const bound = before + EACH * 5 * PER_SOCKET_BYTES + SLACK_BYTES;
  assert.ok(most < bound, `${most} bytes, at most ${bound} allowed`);
  const replies = [...quiet, ...beset].map(({ response }) => response);
  for (const joined of channels) await shows(joined, replies);
  for (const client of clients) assert.deepEqual(client.closes, []);
  // And it serves on.
  assert.ok((await sendSurely(channels[0], "after")).seq > replies.length);
});
