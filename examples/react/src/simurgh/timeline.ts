// What one client knows of a conversation, as a reducer. Whatever comes twice (by a broadcast, a join's reply, a page, the
// reply to one's own send) changes nothing the second time.

import type { Joined, Message, Quote } from "./protocol";

/** Written, and not acknowledged yet. */
export interface Draft {
  /** Names the message: however often it is pushed, it is stored once. */
  client_random: string;
  content: string;
  reply_to_id?: string;
  /** Why the server will not have it. */
  refused?: string;
}

export interface Timeline {
  user: string;
  members: string[];
  /** In the order of `seq`. */
  messages: Message[];
  /** Everything from `first` to `last` is in `messages`. Undefined before the first join. */
  first?: number;
  /** The position to resume from. */
  last?: number;
  /** The position in the changes to resume from. */
  since?: string;
  /** How messages begin that changed and may be quoted; null where they are gone. */
  previews: Record<string, string | null>;
  /** Up to which `seq` each member has received and read, as far as is known. */
  delivered: Record<string, number>;
  read: Record<string, number>;
  drafts: Draft[];
}

export type Action =
  | { type: "joined"; reply: Joined }
  | { type: "messages"; messages: Message[] }
  | { type: "caughtUp"; messages: Message[]; changes: Message[]; since: string }
  | { type: "edited"; message: Message }
  | { type: "deleted"; id: string; at: string }
  | { type: "hidden"; id: string }
  | { type: "reacted"; id: string; user: string; reaction: string; present: boolean }
  | { type: "delivered" | "read"; user: string; seq: number }
  | { type: "written" | "rewritten"; draft: Draft }
  | { type: "sent"; draft: Draft; message: Message }
  | { type: "discarded"; draft: Draft };

const BLANK = { content: "", metadata: {}, reply_to_id: null, reply_to: undefined, reactions: {} };

export const empty = (user: string, drafts: Draft[] = []): Timeline => ({
  user, members: [user], messages: [], previews: {}, delivered: {}, read: {}, drafts,
});

export function reduce(state: Timeline, action: Action): Timeline {
  switch (action.type) {
    case "joined": {
      const { conversation, last_seq, last_read_seq, messages, changes, change_cursor } = action.reply;
      // Where it was joined for the first time, what is older is history.
      const { first = last_seq + 1, last = last_seq } = state;
      const begun = { ...state, first, last, since: change_cursor, members: conversation.member_ids };
      return moved(changed(merged(begun, messages), changes), "read", state.user, last_read_seq);
    }
    case "messages":
      return merged(state, action.messages);
    case "caughtUp":
      return { ...changed(merged(state, action.messages), action.changes), since: action.since };
    case "edited":
      return changed(state, [action.message]);
    case "deleted":
      return patched(state, action.id, () => ({ ...BLANK, deleted_at: action.at }));
    case "hidden":
      return patched(state, action.id, () => ({ ...BLANK, hidden: true }));
    case "reacted":
      return patched(state, action.id, ({ reactions }) => ({ reactions: withReaction(reactions, action) }));
    case "delivered":
    case "read":
      return moved(state, action.type, action.user, action.seq);
    case "written":
      return { ...state, drafts: [...state.drafts, action.draft] };
    case "rewritten":
      return { ...state, drafts: state.drafts.map((one) => (sameDraft(one, action.draft) ? action.draft : one)) };
    case "sent": {
      // A broadcast may have told a later form already.
      const known = state.messages.some(({ id }) => id === action.message.id);
      return reduce(known ? state : merged(state, [action.message]), { type: "discarded", draft: action.draft });
    }
    case "discarded":
      return { ...state, drafts: state.drafts.filter((one) => !sameDraft(one, action.draft)) };
  }
}

const sameDraft = (one: Draft, other: Draft) => one.client_random === other.client_random;

/** Takes messages from wherever they come. What came ahead of a gap waits until the gap is filled. */
function merged(state: Timeline, incoming: Message[]): Timeline {
  const held = new Map(state.messages.map((message) => [message.id, message]));
  for (const message of incoming) held.set(message.id, { reactions: held.get(message.id)?.reactions, ...message });
  const messages = [...held.values()].sort((a, b) => a.seq - b.seq);
  const seqs = new Set(messages.map(({ seq }) => seq));
  let { first, last } = state;
  while (last !== undefined && seqs.has(last + 1)) last += 1;
  while (first !== undefined && seqs.has(first - 1)) first -= 1;
  const stored = new Set(messages.filter(({ sender_id }) => sender_id === state.user).map((one) => one.client_random));
  const drafts = state.drafts.filter(({ client_random }) => !stored.has(client_random));
  // Who writes has read what is above.
  const now: Timeline = { ...state, messages, first, last, drafts };
  return incoming.reduce((so, { sender_id, seq }) => moved(so, "read", sender_id, seq), now);
}

/** Takes messages in their latest form. One that is not held comes with its page of history. */
function changed(state: Timeline, incoming: Message[]): Timeline {
  const held = new Set(state.messages.map(({ id }) => id));
  const previews = Object.fromEntries(incoming.map((message) => [message.id, previewOf(message)]));
  return merged({ ...state, previews: { ...state.previews, ...previews } }, incoming.filter(({ id }) => held.has(id)));
}

function patched(state: Timeline, id: string, patch: (message: Message) => Partial<Message>): Timeline {
  const message = state.messages.find((one) => one.id === id);
  if (message) return changed(state, [{ ...message, ...patch(message) }]);
  // Of what is not held only a deletion matters: nothing may go on quoting it.
  const gone = patch({} as Message).content === "";
  return gone ? { ...state, previews: { ...state.previews, [id]: null } } : state;
}

function withReaction(reactions: Message["reactions"] = {}, { user, reaction, present }: { user: string; reaction: string; present: boolean }) {
  const { [reaction]: users = [], ...others } = reactions;
  const left = users.filter((one) => one !== user);
  const now = present ? [...left, user] : left;
  return now.length > 0 ? { ...reactions, [reaction]: now } : others;
}

/** Positions only move forward. */
function moved(state: Timeline, what: "delivered" | "read", user: string, seq: number): Timeline {
  return (state[what][user] ?? 0) >= seq ? state : { ...state, [what]: { ...state[what], [user]: seq } };
}

export const isGone = (message: Message) => Boolean(message.deleted_at ?? message.hidden);

const previewOf = (message: Message) => (isGone(message) ? null : [...message.content].slice(0, 100).join(""));

/** Without a gap, in order. */
export function shown({ messages, first = 0, last = 0 }: Timeline): Message[] {
  return messages.filter(({ seq }) => seq >= first && seq <= last);
}

/** What is known of the quoted message now, rather than when its answer was read. */
export function quoteIn({ messages, previews }: Timeline, quote: Quote): Quote {
  const held = messages.find(({ id }) => id === quote.id);
  const preview = held ? previewOf(held) : quote.id in previews ? (previews[quote.id] ?? null) : quote.preview;
  return { ...quote, preview };
}

/** How far one's own message has come, with anybody else. */
export function progress({ user, delivered, read }: Timeline, { seq }: Message): "sent" | "delivered" | "read" {
  const reached = (positions: Record<string, number>) => Object.entries(positions).some(([who, at]) => who !== user && at >= seq);
  return reached(read) ? "read" : reached(delivered) ? "delivered" : "sent";
}
