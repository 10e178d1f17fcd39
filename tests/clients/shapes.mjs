// The shapes of the contract: exact key sets, and the types of what differs from run to run.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const MESSAGE = [
  "id", "conversation_id", "seq", "sender_id", "message_type", "content", "metadata", "client_random", "reply_to_id", "sent_at",
];

/** Exactly these keys, the optional ones aside. */
export function keys(value, wanted, optional = []) {
  assert.equal(typeof value, "object", `an object, not ${JSON.stringify(value)}`);
  const found = Object.keys(value).filter((key) => !optional.includes(key) || wanted.includes(key));
  assert.deepEqual(found.sort(), [...wanted].sort(), `keys of ${JSON.stringify(value)}`);
}

/** Exactly these fields; a value that is a function judges its field instead. */
export function fields(value, wanted) {
  keys(value, Object.keys(wanted));
  for (const [key, want] of Object.entries(wanted)) {
    if (typeof want === "function") want(value[key], key);
    else assert.deepEqual(value[key], want, `${key} of ${JSON.stringify(value)}`);
  }
}

/** RFC 3339, UTC, milliseconds, and within two minutes of now. */
export function recent(value, name = "a time") {
  assert.match(String(value), TIME, name);
  assert.ok(Math.abs(Date.now() - Date.parse(value)) < 120_000, `${name} ${value} is about now`);
}

export function time(value, name = "a time") {
  assert.match(String(value), TIME, name);
}

export function uuid(value, name = "an id") {
  assert.match(String(value), UUID, name);
}

export function text(value, name = "a text") {
  assert.equal(typeof value, "string", name);
  assert.ok(value.length > 0, `${name} is not empty`);
}

/** Fields of a message that are there only where they say something: those of the table in the contract's section 3.3. */
const SAID = contractTable("reply_to", "edited_at", "deleted_at", "hidden");

/** These fields, each of which the contract's tables name at the head of a row. */
function contractTable(...names) {
  const contract = readFileSync(new URL("../../docs/contract.md", import.meta.url), "utf8");
  for (const name of names) assert.ok(contract.includes(`\n| \`${name}\` |`), `the contract has a row for ${name}`);
  return names;
}

/**
 * A message, `want` holding what is known of it. `reactions`, and what is there only where it says something, are in it
 * exactly when `want` names them; what a message answers also where it names the answer only.
 */
export function message(value, want) {
  const said = ["reactions", ...SAID].filter((name) => name in want);
  const quoted = want.reply_to_id && !("reply_to" in want) ? ["reply_to"] : [];
  keys(value, [...MESSAGE, ...said, ...quoted]);
  uuid(value.id, "id");
  recent(value.sent_at, "sent_at");
  assert.ok(Number.isSafeInteger(value.seq) && value.seq >= 1, `seq ${value.seq}`);
  for (const [key, wanted] of Object.entries(want)) assert.deepEqual(value[key], wanted, `${key} of ${JSON.stringify(value)}`);
}

/** A reply to `send_message`; answers its message. */
export function sent(reply, want, { duplicate = false } = {}) {
  fields(reply, {
    message_id: uuid, seq: (seq) => assert.ok(seq >= 1), sent_at: recent, message: () => {}, duplicate,
  });
  message(reply.message, { id: reply.message_id, seq: reply.seq, sent_at: reply.sent_at, ...want });
  return reply.message;
}

/** A conversation; `more` names the fields that a list adds to it. */
export function conversation(value, want, more = []) {
  keys(value, ["id", "type", "metadata", "created_by", "member_ids", "last_seq", "created_at", "updated_at", ...more]);
  recent(value.created_at, "created_at");
  recent(value.updated_at, "updated_at");
  for (const [key, wanted] of Object.entries(want)) {
    if (key === "member_ids") assert.deepEqual([...value.member_ids].sort(), [...wanted].sort(), "member_ids");
    else assert.deepEqual(value[key], wanted, `${key} of ${JSON.stringify(value)}`);
  }
}

/** The reply to a conversation's join. */
export function conversationJoin(reply, want) {
  keys(reply, [
    "status", "conversation_id", "conversation", "last_seq", "last_read_seq", "messages", "truncated", "changes", "change_cursor",
  ]);
  assert.equal(reply.status, "joined");
  conversation(reply.conversation, { id: reply.conversation_id });
  assert.ok(Array.isArray(reply.messages) && Array.isArray(reply.changes));
  for (const [key, wanted] of Object.entries(want)) assert.deepEqual(reply[key], wanted, `${key} of ${JSON.stringify(reply)}`);
}

/** Presence in Phoenix's form: `{id: {metas: [...]}}` of exactly these ids. `status` is in the metas of user topics. */
export function presences(value, ids, { status = false } = {}) {
  assert.deepEqual(Object.keys(value).sort(), [...ids].sort(), `who is in ${JSON.stringify(value)}`);
  for (const entry of Object.values(value)) {
    keys(entry, ["metas"]);
    assert.ok(entry.metas.length > 0);
    for (const meta of entry.metas) {
      // An update carries the ref it replaces, as Phoenix.Presence has it.
      keys(meta, status ? ["phx_ref", "online_at", "status"] : ["phx_ref", "online_at"], ["phx_ref_prev"]);
      text(meta.phx_ref, "phx_ref");
      time(meta.online_at, "online_at");
    }
  }
}

/** The payload of a refusal: its reason, a text for people, and exactly the extras this reason has. */
export function refused(response, reason, extras = []) {
  assert.equal(response.reason, reason, JSON.stringify(response));
  keys(response, ["reason", "message", ...extras]);
  text(response.message, "message");
}

/** A refusal that names at least these fields. */
export function invalid(response, ...names) {
  refused(response, "validation_failed", ["errors"]);
  for (const name of names) {
    assert.ok(Array.isArray(response.errors[name]), `errors of ${name} in ${JSON.stringify(response.errors)}`);
    response.errors[name].forEach((line) => text(line));
  }
}

/** An HTTP refusal: its status and the body `{error: {reason, message, …}}`. */
export function httpRefused(response, status, reason, extras = []) {
  assert.equal(response.status, status, JSON.stringify(response.body));
  keys(response.body, ["error"]);
  refused(response.body.error, reason, extras);
}
