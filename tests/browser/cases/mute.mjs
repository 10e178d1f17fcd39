// Muting a conversation: it is counted, and calls nobody.

import assert from "node:assert/strict";

import { play, until } from "../support.mjs";

const HOUR_MS = 60 * 60 * 1000;

/** bob at one window and alice at two; they have the group "Nest builders" and a conversation of their own. */
async function pair(stage) {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const id = await stage.group([bob, alice], { title: "Nest builders" });
  const b = await stage.person(bob);
  await b.start([alice]);
  const a = await stage.person(alice);
  const second = await stage.person(alice);
  return { a, second, b, alice, bob, id };
}

const bell = ({ page }, name) => page.locator(".thread-head").getByRole("button", { name });
const isMuted = (window, title) => window.row(title).locator(".mute").waitFor();
const isNotMuted = (window, title) => window.row(title).locator(".mute").waitFor({ state: "detached" });

/** Presses a button of the dialog behind the bell of the conversation that is open. */
async function choose({ page }, choice) {
  await page.locator(".thread-head").getByRole("button", { name: /^Mute/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: choice, exact: true }).click();
}

async function counts({ page, user }, count) {
  const title = `${count > 0 ? `(${count}) ` : ""}${user} · Simurgh`;
  let seen;
  await until(async () => (seen = await page.title()) === title, () => `the title ${title}; it was ${seen}`);
}

/** What the server holds. */
async function mutedUntil(stage, user, id) {
  return (await stage.as(user, "GET", `/api/v1/conversations/${id}/settings`)).body.muted_until;
}

async function goOffline(window) {
  await window.tool("Go offline").click();
  await window.connection("Offline");
}

async function goOnline(window) {
  await window.tool("Go online").click();
  await window.connection("Connected");
}

play("a group that is muted stays out of the title, mentions too, on all of one's windows", async (stage) => {
  const { a, second, b, alice, bob, id } = await pair(stage);
  await a.open("Nest builders");
  await choose(a, "For 8 hours");
  await bell(a, /^Muted until /).waitFor();
  await a.page.getByRole("dialog").waitFor({ state: "hidden" });
  await a.page.locator(".thread-head button:focus").waitFor();
  for (const one of [a, second]) await isMuted(one, "Nest builders");
  const left = Date.parse(await mutedUntil(stage, alice, id)) - Date.now();
  assert.ok(Math.abs(left - 8 * HOUR_MS) < 2 * 60 * 1000, `${left} ms are left`);
  assert.equal(await mutedUntil(stage, bob, id), null);

  // Somewhere else, so that nothing is read.
  for (const one of [a, second]) await one.open(bob);
  await b.open("Nest builders");
  await b.say("Who brings twigs?");
  await b.say(`You, @${alice}?`);
  for (const one of [a, second]) {
    await one.row("Nest builders").locator(".badge", { hasText: "2" }).waitFor();
    await one.row("Nest builders").locator(".named").waitFor();
    await counts(one, 0);
  }
  // Only the group is muted: the title counts all else.
  for (const one of [a, second]) await one.open("Nest builders");
  await b.open(alice);
  await b.say("psst");
  for (const one of [a, second]) await counts(one, 1);

  // What is unread when the mute is taken away counts from then on.
  for (const one of [a, second]) await one.open(bob);
  await b.open("Nest builders");
  await b.say("Nobody?");
  await a.row("Nest builders").locator(".badge", { hasText: "1" }).waitFor();
  await counts(a, 0);
  const unmuted = await stage.as(alice, "PATCH", `/api/v1/conversations/${id}/settings`, { muted_until: null });
  assert.equal(unmuted.status, 200);
  for (const one of [a, second]) {
    await counts(one, 1);
    await isNotMuted(one, "Nest builders");
  }
});

play("one window mutes without an end, and the other one unmutes", async (stage) => {
  const { a, second, b, alice, bob } = await pair(stage);
  for (const one of [a, second]) await one.open(bob);
  await choose(a, "Until I unmute it");
  for (const one of [a, second]) await bell(one, /^Muted$/).waitFor();
  await a.page.reload();
  await a.connection("Connected");
  await bell(a, /^Muted$/).waitFor();
  await isMuted(a, bob);
  assert.equal(await b.row(alice).locator(".mute").count(), 0, "muting is one's own affair");
  // A dialog that is open hears of it, too.
  await bell(a, /^Muted$/).click();
  const dialog = a.page.getByRole("dialog", { name: "Muted", exact: true });
  await dialog.getByRole("button", { name: "Unmute" }).waitFor();
  await choose(second, "Unmute");
  await a.page.getByRole("dialog", { name: "Mute this conversation?" }).getByRole("button", { name: "For 8 hours" }).waitFor();
  for (const one of [a, second]) {
    await bell(one, /^Mute$/).waitFor();
    await isNotMuted(one, bob);
  }
});

play("who was away sees what was muted meanwhile, and a mute whose time is over ends by itself", async (stage) => {
  const { a, second, b, alice, bob, id } = await pair(stage);
  for (const one of [a, second]) await one.open(bob);
  await goOffline(second);
  await b.open("Nest builders");
  await b.say("Twigs!");
  await a.row("Nest builders").locator(".badge", { hasText: "1" }).waitFor();
  await counts(a, 1);
  // By another client.
  const mute = (muted_until) => stage.as(alice, "PATCH", `/api/v1/conversations/${id}/settings`, { muted_until });
  await mute("9999-12-31T23:59:59.999Z");
  await isMuted(a, "Nest builders");
  assert.equal(await second.row("Nest builders").locator(".mute").count(), 0);
  await goOnline(second);
  await isMuted(second, "Nest builders");
  await second.row("Nest builders").locator(".badge", { hasText: "1" }).waitFor();
  for (const one of [a, second]) await counts(one, 0);
  await mute(new Date(Date.now() + 3_000).toISOString());
  for (const one of [a, second]) {
    await isNotMuted(one, "Nest builders");
    await counts(one, 1);
  }
  await a.open("Nest builders");
  await bell(a, /^Mute$/).waitFor();
});

play("a mute that is refused or cannot be asked for says why, and nothing is muted", async (stage) => {
  const { a, alice, bob, id } = await pair(stage);
  const problem = (words) => a.page.getByRole("dialog").getByRole("alert").filter({ hasText: words }).waitFor();
  const close = () => a.page.keyboard.press("Escape");
  await a.open("Nest builders");
  await goOffline(a);
  await choose(a, "For 8 hours");
  await problem("You are offline.");
  await close();
  await goOnline(a);
  // What stands between a page and its server answers in a way of its own, or not at all.
  a.expects(/502|404|net::ERR_FAILED/, 5);
  const settings = "**/settings";
  for (const [answer, words] of [
    [{ status: 502, contentType: "text/html", body: "<h1>Bad Gateway</h1>" }, "The server is out of order (HTTP 502)."],
    [{ status: 200, contentType: "text/html", body: "<h1>Sign in to this network</h1>" }, "The server is out of order (HTTP 200)."],
    ["abort", "The server is out of reach."],
  ]) {
    await a.page.route(settings, (route) => (answer === "abort" ? route.abort() : route.fulfill(answer)));
    await choose(a, "For 8 hours");
    await problem(words);
    await close();
    await a.page.unroute(settings);
  }
  await bell(a, /^Mute$/).waitFor();
  assert.equal(await mutedUntil(stage, alice, id), null);
  // Whose membership ends while the question is on the screen.
  await bell(a, /^Mute$/).click();
  await stage.as(bob, "DELETE", `/api/v1/conversations/${id}/members/${alice}`);
  await a.page.locator(".toast", { hasText: "You are no longer in Nest builders" }).waitFor();
  await a.page.getByRole("dialog").getByRole("button", { name: "For 8 hours" }).click();
  await problem(/not a member/);
});

play("answers that overtake each other end with the latest, and a mute without an end is no timer that rings at once", async (stage) => {
  const window = await stage.window();
  const seen = await window.page.evaluate(async () => {
    const { FOREVER, Mute, turn } = await import("/page/js/client/mute.js");
    let changes = 0;
    const mute = new Mute(() => (changes += 1));
    const [first, second, third] = [turn(), turn(), turn()];
    mute.learn({ muted_until: FOREVER }, second);
    mute.learn({ muted_until: null }, first);
    const overtaken = mute.until;
    // A browser rings after 1 ms where a time is too long for it, and so before this.
    await new Promise((resolve) => setTimeout(resolve, 20));
    const rung = changes;
    mute.learn({ muted_until: null }, third);
    return { overtaken, rung, last: mute.until };
  });
  assert.deepEqual(seen, { overtaken: "9999-12-31T23:59:59.999Z", rung: 1, last: null });
});
