// What is stored against what everybody was told: guarantees 1 to 5 and 7, from outside.

import { isDeepStrictEqual } from "node:util";

import { http, token } from "../support.mjs";
import { settledReactions } from "./screen.mjs";

/** The whole history of a conversation, over HTTP. */
export async function history(gateway, user, id) {
  const messages = [];
  for (let more = true; more; ) {
    const query = `after_seq=${messages.at(-1)?.seq ?? 0}&limit=200`;
    const page = await http(gateway, "GET", `/api/v1/conversations/${id}/messages?${query}`, { token: token(user) });
    if (page.status !== 200) throw new Error(`history of ${id}: ${page.status} ${JSON.stringify(page.body)}`);
    messages.push(...page.body.messages);
    more = page.body.has_more;
  }
  return messages;
}

/** Counts and lines of what is wrong with the log itself and with the replies. */
export function judgeLog(id, stored, sends) {
  const verdict = { lost: 0, duplicated: 0, misplaced: 0, lines: [] };
  const wrong = (what, line) => {
    verdict[what] += 1;
    verdict.lines.push(`${id}: ${line}`);
  };
  stored.forEach(({ seq }, at) => seq === at + 1 || wrong("misplaced", `seq ${seq} in place ${at + 1}`));
  const byKey = Map.groupBy ? Map.groupBy(stored, keyOf) : grouped(stored, keyOf);
  for (const send of sends) {
    const found = byKey.get(`${send.sender} ${send.client_random}`) ?? [];
    if (found.length === 0) wrong("lost", `acknowledged and not stored: ${send.content} as ${JSON.stringify(send.reply)}`);
    if (found.length > 1) wrong("duplicated", `stored ${found.length} times: ${send.content}`);
    const [message] = found;
    if (message && (message.seq !== send.reply?.seq || message.id !== send.reply?.message_id || message.content !== send.content)) {
      wrong("misplaced", `${send.content} is stored as ${message.seq} ${message.id}, the reply said ${send.reply?.seq} ${send.reply?.message_id}`);
    }
  }
  const known = new Set(sends.map(({ sender, client_random }) => `${sender} ${client_random}`));
  for (const message of stored) if (!known.has(keyOf(message))) wrong("duplicated", `nobody sent ${message.content}`);
  return verdict;
}

const keyOf = ({ sender_id, client_random }) => `${sender_id} ${client_random}`;

function grouped(list, key) {
  const groups = new Map();
  for (const item of list) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}

/** The same for one screen: it must equal the log, and its reactions too. */
export function judgeScreen(screen, stored) {
  const verdict = { lost: 0, duplicated: 0, misplaced: 0, lines: [...screen.wrongs] };
  const shown = new Map();
  for (const message of screen.shown) {
    if (shown.has(message.id)) verdict.duplicated += 1;
    shown.set(message.id, message);
  }
  for (const { id, seq } of stored) {
    if (shown.has(id)) continue;
    verdict.lost += 1;
    verdict.lines.push(`${screen.client.user} in ${screen.id}: ${seq} is not on the screen`);
  }
  screen.shown.forEach(({ seq }, at) => {
    if (at > 0 && seq <= screen.shown[at - 1].seq) verdict.misplaced += 1;
  });
  const same = isDeepStrictEqual(screen.shown.map(({ id, seq, content }) => [id, seq, content]), stored.map(({ id, seq, content }) => [id, seq, content]));
  if (!same && verdict.lines.length === 0) verdict.lines.push(`${screen.client.user} in ${screen.id}: the screen is not what is stored`);
  for (const { id, seq, reactions } of stored) {
    const [here, there] = [settledReactions(screen.reactions.get(id)), settledReactions(reactions)];
    if (!isDeepStrictEqual(here, there)) {
      verdict.lines.push(`${screen.client.user} in ${screen.id}: reactions of ${seq} are ${JSON.stringify(here)}, stored ${JSON.stringify(there)}`);
    }
  }
  return verdict;
}

/**
 * Each reaction as its user last set it. Where a socket ended under a push, whatever the gateway still did with it may
 * have come after the client's next: such are left out.
 */
export function judgeReactions(stored, reacted) {
  const byId = new Map(stored.map((message) => [message.id, message]));
  const lines = [];
  let sure = 0;
  for (const { id, user, reaction, wanted, unsure } of reacted) {
    if (unsure || !byId.has(id)) continue;
    sure += 1;
    const there = byId.get(id).reactions?.[reaction]?.includes(user) ?? false;
    if (there !== wanted) lines.push(`${user} left ${reaction} on ${id} ${wanted ? "added" : "removed"}, and it is ${there ? "there" : "not there"}`);
  }
  return { sure, lines };
}
