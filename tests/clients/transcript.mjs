// Literal frames in, literal frames out, as they are written down of a Phoenix server:
//
//   C> ["1","2","$c","typing_stop",{}]          a client sends this
//   S> ["1","2","$c","phx_reply",{"status":"ok","response":{}}]      and then this comes, compared as JSON
//   S~ …                                        comes among the lines around it, in whatever order
//   S? …                                        may come there
//   B C> …, B S> …                              the same of another client, bob; without a letter it is alice
//   C> [binary] ["1","2","$c","x"] 01 02        a binary push: join_ref, ref, topic, event, then the payload in hex
//   C> [bytes] 00 01 02                         a binary frame, byte by byte
//   C> [text] ping                              a text that is no frame
//   S> [close] 1007 invalid_frame               the socket is closed
//   # …                                         a remark
//
// `$name` stands for an id: known from the start ($alice, $bob, $c: a conversation's topic of both, $nowhere: the topic of
// none, and their $c_id, $nowhere_id), or learnt where it first comes; `$*` for anything; a key `"..."` for any other keys. Where nothing comes,
// nothing is written: a heartbeat at the end shows that nothing else was on its way.
//
// A transcript is written for `vsn` 2 and played on both serializers, each over a WebSocket and by long poll.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { LongPollPlayer, WebSocketPlayer } from "./players.mjs";
import { Scene, token } from "./support.mjs";

const WAYS = {
  "vsn 2": { Player: WebSocketPlayer, vsn: "2.0.0" },
  "vsn 1": { Player: WebSocketPlayer, vsn: "1.0.0" },
  "vsn 2 by long poll": { Player: LongPollPlayer, vsn: "2.0.0" },
  "vsn 1 by long poll": { Player: LongPollPlayer, vsn: "1.0.0" },
};

/** Presence comes when it comes; transcripts about it name it. */
const ASIDE = ["presence_state", "presence_diff", "user_joined", "user_left", "sync_complete"];
const NOWHERE = "00000000-0000-4000-8000-000000000000";

/**
 * One case. `vsn1: false` where the older serializer cannot say it, `vsn2: false` where only that can, `longPoll:
 * false` where long poll cannot; `heard` names events that are otherwise left aside; `phoenix` says what Phoenix does where the contract differs.
 */
export function conform(promise, text, { vsn1 = true, vsn2 = true, longPoll = true, heard = [], phoenix } = {}) {
  const lines = parsed(text);
  describe(phoenix ? `${promise} (Phoenix: ${phoenix})` : promise, { concurrency: 4 }, () => {
    for (const [way, { Player, vsn }] of Object.entries(WAYS)) {
      if ((!vsn1 && vsn === "1.0.0") || (!vsn2 && vsn === "2.0.0") || (!longPoll && Player === LongPollPlayer)) continue;
      test(way, { timeout: 60_000 }, async (t) => {
        const scene = new Scene();
        t.after(() => scene.close());
        const [alice, bob] = [scene.user("alice"), scene.user("bob")];
        const id = await scene.group([alice, bob]);
        const known = {
          alice, bob, c: `conversation:${id}`, c_id: id, nowhere: `conversation:${NOWHERE}`, nowhere_id: NOWHERE,
        };
        const play = new Play({ known, vsn, aside: ASIDE.filter((event) => !heard.includes(event)) });
        const gateways = Player === LongPollPlayer ? scene.gateways : [scene.gateway()];
        for (const [letter, user] of Object.entries({ A: alice, B: bob })) {
          if (!lines.some((line) => line.who === letter)) continue;
          play.players[letter] = new Player(gateways, { token: token(user), vsn });
          t.after(() => play.players[letter].close());
          await play.players[letter].open();
        }
        await play.through(lines);
      });
    }
  });
}

function parsed(text) {
  return text.split("\n").map((line) => line.trim()).filter((line) => line && !line.startsWith("#")).map((line) => {
    const [, who = "A", side, rest] = /^(?:([AB]) )?(C>|S>|S~|S\?) ?(.*)$/s.exec(line) ?? assert.fail(`not a line: ${line}`);
    return { who, side, text: rest, line };
  });
}

class Play {
  players = {};

  constructor({ known, vsn, aside }) {
    Object.assign(this, { known, vsn, aside });
  }

  async through(lines) {
    for (let at = 0; at < lines.length;) {
      if (lines[at].side === "C>") {
        this.send(lines[at]);
        at += 1;
        continue;
      }
      const end = lines.findIndex((line, index) => index >= at && line.side === "C>");
      const group = lines.slice(at, end < 0 ? lines.length : end);
      for (const who of Object.keys(this.players)) await this.expect(who, group.filter((line) => line.who === who));
      at += group.length;
    }
    for (const who of Object.keys(this.players)) {
      if (lines.some((line) => line.who === who && line.text.startsWith("[close]"))) continue;
      const last = { who, text: '[null,"the end","phoenix","heartbeat",{}]' };
      this.send(last);
      await this.expect(who, [{ side: "S>", line: "nothing else", text: '[null,"the end","phoenix","phx_reply",{"status":"ok","response":{}}]' }]);
    }
  }

  send({ who, text }) {
    const said = text.replace(/\$([a-z_]+)/g, (whole, name) => this.known[name] ?? whole);
    const [, kind, rest] = /^\[(binary|bytes|text)\] ?(.*)$/s.exec(said) ?? [undefined, "frame", said];
    const player = this.players[who];
    if (kind === "bytes") return player.send(bytes(rest));
    if (kind === "text") return player.send(rest);
    if (kind === "binary") {
      const [, header, payload] = /^(\[[^\]]*\]) ?(.*)$/.exec(rest);
      const parts = JSON.parse(header).map((part) => Buffer.from(part));
      return player.send(Buffer.concat([Buffer.from([0, ...parts.map((part) => part.length)]), ...parts, bytes(payload)]));
    }
    // The frame as it is written, so that its very form is what is tested.
    if (this.vsn === "2.0.0") return player.send(said);
    const [, ref, topic, event, payload] = JSON.parse(said);
    return player.send(JSON.stringify({ topic, event, payload, ref }));
  }

  /** Awaits what these lines say of one client. */
  async expect(who, lines) {
    const wanted = [...lines];
    while (wanted.some((line) => line.side !== "S?")) {
      const came = await this.players[who].next(() => `${wanted[0].line} as ${JSON.stringify(this.wanted(wanted[0]))}`);
      if (this.aside.includes(this.event(came))) continue;
      const first = wanted.findIndex((line) => line.side === "S>");
      const index = wanted.findIndex((line, at) => (line.side !== "S>" || at === first) && this.matches(this.wanted(line), came));
      assert.ok(index >= 0, `wanted ${wanted[0].line}\n  as ${JSON.stringify(this.wanted(wanted[0]))}\ncame ${JSON.stringify(came)}`);
      wanted.splice(index, 1);
    }
  }

  event(came) {
    return Array.isArray(came) ? came[3] : came.event;
  }

  /** What a line says, as the serializer of this play has it. */
  wanted({ text }) {
    const close = /^\[close\] (\d+) ?(.*)$/.exec(text);
    if (close) return { closed: [Number(close[1]), close[2]] };
    const [join_ref, ref, topic, event, payload] = JSON.parse(text);
    if (this.vsn === "2.0.0") return [join_ref, ref, topic, event, payload];
    // The older serializer names no join, and only replies have a ref.
    return { topic, event, payload, ref: event === "phx_reply" ? ref : null };
  }

  /** Whether it is what is wanted; then names that were new stand for what they stood at. */
  matches(wanted, came) {
    if (wanted.closed && came.closed?.length === 1) return true;
    const learnt = { ...this.known };
    const same = matching(wanted, came, learnt);
    if (same) this.known = learnt;
    return same;
  }
}

function matching(wanted, came, names) {
  if (typeof wanted === "string" && wanted.includes("$")) {
    if (wanted === "$*") return true;
    const name = /^\$([a-z_]+)$/.exec(wanted)?.[1];
    if (name && !(name in names)) names[name] = came;
    return came === wanted.replace(/\$([a-z_]+)/g, (whole, known) => names[known] ?? whole) || (name && names[name] === came);
  }
  if (wanted === null || typeof wanted !== "object") return wanted === came;
  if (came === null || typeof came !== "object" || Array.isArray(wanted) !== Array.isArray(came)) return false;
  // Names may stand for keys, too.
  const named = Object.entries(wanted).map(([key, value]) => [key.startsWith("$") ? names[key.slice(1)] : key, value]);
  const { "...": more, ...fields } = Array.isArray(wanted) ? { ...wanted } : Object.fromEntries(named);
  const known = Object.keys(fields);
  if (more === undefined && known.length !== Object.keys(came).length) return false;
  return known.every((key) => key in came && matching(fields[key], came[key], names));
}

function bytes(hex) {
  return Buffer.from(hex.replaceAll(" ", ""), "hex");
}
