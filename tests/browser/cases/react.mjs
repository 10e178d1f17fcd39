// The React example in vite's dev server, so under StrictMode, and through its proxy.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import path from "node:path";
import { after } from "node:test";

import { Tab, excuse, script, served } from "../react.mjs";
import { play, until } from "../support.mjs";

const site = served();
after(() => rmSync(site.dir, { recursive: true, force: true }));

/** Two who have said hello. */
async function pair(stage) {
  const a = await Tab.of(stage, stage.user("alice"), site);
  const b = await Tab.of(stage, stage.user("bob"), site);
  await a.open(b.user);
  await b.open(a.user);
  await a.say("hello");
  await b.sees("hello");
  await a.state("hello", "read");
  return { a, b };
}

/** The messages that are stored, oldest first. */
async function stored(stage, { user, id }) {
  const { body } = await stage.as(user, "GET", `/api/v1/conversations/${id}/messages`);
  return body.messages;
}

play("React: the types are right, and a production build works as the dev server does", async (stage) => {
  await script("check");
  const dist = path.join(site.dir, "dist");
  await script("build", "--outDir", dist, "--emptyOutDir");
  const preview = await site.vite("preview", "--outDir", dist);
  try {
    const a = await Tab.of(stage, stage.user("alice"), preview);
    await a.open(stage.user("bob"));
    await a.say("from the bundle");
    await a.state("from the bundle", "sent");
    // No StrictMode: what is mounted once joins once.
    assert.equal(a.pushed("phx_join").length, 1);
    await a.page.goto("about:blank");
  } finally {
    await preview.kill();
  }
});

play("React: sent, delivered, read; replies, reactions, edits and deletions", async (stage) => {
  const { a, b } = await pair(stage);
  assert.equal(a.pushed("phx_join").length, 2, "StrictMode mounts twice");
  await b.look(false);
  await a.say("are you there?");
  await a.state("are you there?", "delivered");
  await b.look(true);
  await a.state("are you there?", "read");

  await b.press("are you there?", "Reply");
  await b.say("I am");
  await a.line("I am").locator("blockquote", { hasText: "are you there?" }).waitFor();
  await a.press("I am", "React with 👍");
  await b.line("I am").getByRole("button", { name: `👍 by ${a.user}` }).waitFor();
  await b.press("I am", `👍 by ${a.user}`);
  await a.line("I am").getByRole("button", { name: `👍 by ${a.user}, ${b.user}` }).waitFor();

  await a.press("are you there?", "Edit");
  await a.say("are you here?");
  await b.line("are you here?").locator(".edited").waitFor();
  await b.line("I am").locator("blockquote", { hasText: "are you here?" }).waitFor();
  await a.press("are you here?", "Delete");
  for (const one of [a, b]) {
    await one.sees("This message was deleted");
    await one.line("I am").locator("blockquote", { hasText: "Deleted" }).waitFor();
  }
  await a.press("I am", "Delete for me");
  await a.shows(["hello", "This message was deleted", "Hidden from you"]);
  await b.shows(["hello", "This message was deleted", "I am"]);

  // All of it is in the history, and so are the ticks.
  for (const one of [a, b]) await one.page.reload();
  await a.shows(["hello", "This message was deleted", "Hidden from you"]);
  await b.shows(["hello", "This message was deleted", "I am"]);
  await a.state("hello", "read");
});

play("React: the socket cut in mid-send, on the way out and on the way back, and the message is there once", async (stage) => {
  const { a, b } = await pair(stage);
  const pushes = (text) => a.pushed("send_message").filter(({ content }) => content === text);
  excuse(a, b);
  site.wire.hold("up");
  await a.say("lost on the way");
  await until(() => pushes("lost on the way").length === 1, "the push");
  await a.say("and one more");
  site.wire.reset();
  site.wire.heal();
  for (const one of [a, b]) await one.shows(["hello", "lost on the way", "and one more"]);
  await a.state("and one more", "read");
  const [first, second, ...others] = pushes("lost on the way");
  assert.deepEqual(second, first, "pushed again under the same name");
  assert.equal(others.length, 0);
  const { last_seq, since } = a.pushed("phx_join").at(-1);
  assert.equal(last_seq, 1, "it said where it stood");
  assert.ok(since, "and from when on changes are news");

  // It leaves and is stored; the answer, and all that would tell of it, is lost.
  site.wire.hold("down");
  await a.say("stored");
  await until(async () => (await stored(stage, a)).length === 4, "the message to be stored");
  await a.state("stored", "sending");
  site.wire.reset();
  site.wire.heal();
  for (const one of [a, b]) await one.shows(["hello", "lost on the way", "and one more", "stored"]);
  await a.state("stored", "read");
  assert.equal((await stored(stage, a)).length, 4);
});

play("React: a page that is reloaded in mid-send has sent once", async (stage) => {
  const { a, b } = await pair(stage);
  excuse(a, b);
  // What has left arrives late, after the page that sent it is gone.
  site.wire.hold("up");
  await a.say("on the way");
  await until(() => a.pushed("send_message").length === 2, "the push");
  await a.page.reload();
  await a.sees("on the way");
  site.wire.heal();
  for (const one of [a, b]) await one.shows(["hello", "on the way"]);
  await a.state("on the way", "read");
  assert.equal(new Set(a.pushed("send_message").map((one) => one.client_random)).size, 2);
  assert.equal((await stored(stage, a)).length, 2);
});

play("React: two tabs of one user show the same", async (stage) => {
  const { a, b } = await pair(stage);
  const second = await a.another();
  await second.open(b.user);
  await second.shows(["hello"]);
  await second.say("from the second tab");
  await a.say("from the first");
  for (const one of [second, a, b]) await until(async () => (await one.page.locator("section li[data-seq]").count()) === 3, "three lines");
  const [one, other] = (await stored(stage, a)).slice(1).map(({ content }) => content);
  for (const tab of [a, second, b]) await tab.shows(["hello", one, other]);
  await second.state("from the first", "read");
  await a.press("from the second tab", "Edit");
  await a.say("edited in the first");
  for (const tab of [second, b]) await tab.sees("edited in the first");
  await second.press("edited in the first", "Delete for me");
  await a.sees("You deleted this message");
  await b.sees("edited in the first");
});

play("React: an edit and a deletion made while away are seen after the rejoin", async (stage) => {
  const { a, b } = await pair(stage);
  for (const text of ["to be edited", "to be deleted"]) {
    await b.say(text);
    await a.sees(text);
  }
  await a.press("to be deleted", "Reply");
  await a.say("answered");
  await b.line("answered").locator("blockquote", { hasText: "to be deleted" }).waitFor();
  const [, edited, deleted] = await stored(stage, b);
  excuse(a, b);
  site.wire.cut();
  await a.page.getByRole("status").getByText("Connecting").waitFor();
  const at = `/api/v1/conversations/${b.id}/messages`;
  assert.equal((await stage.as(b.user, "PATCH", `${at}/${edited.id}`, { content: "edited meanwhile" })).status, 200);
  assert.equal((await stage.as(b.user, "DELETE", `${at}/${deleted.id}`)).status, 204);
  const missed = { message_type: "text", content: "missed", client_random: "missed" };
  assert.equal((await stage.as(b.user, "POST", at, missed)).status, 201);
  await a.sees("to be deleted");
  site.wire.heal();
  for (const one of [a, b]) {
    await one.shows(["hello", "edited meanwhile", "This message was deleted", "answered", "missed"]);
    await one.line("edited meanwhile").locator(".edited").waitFor();
    await one.line("answered").locator("blockquote", { hasText: "Deleted" }).waitFor();
  }
});

play("React: what a block kept away holds up nothing of what comes once it is gone", async (stage) => {
  const { a, b } = await pair(stage);
  const set = async (method) => assert.equal((await stage.as(a.user, method, `/api/v1/blocks/${b.user}`)).status, 204);
  await set("PUT");
  await b.say("unheard");
  await b.state("unheard", "sent");
  await set("DELETE");
  await b.say("heard");
  await a.shows(["hello", "Hidden from you", "heard"]);
  await a.page.reload();
  await a.shows(["hello", "Hidden from you", "heard"]);
});
