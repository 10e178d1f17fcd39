// Blocking somebody: what they say to one alone is not heard, and they notice nothing.

import assert from "node:assert/strict";

import { play, until } from "../support.mjs";

/** alice at two windows and bob at one, who have said hello to each other. */
async function pair(stage) {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const a = await stage.person(alice);
  const second = await stage.person(alice);
  const b = await stage.person(bob);
  await a.start([bob]);
  await a.say("hello");
  await b.open(alice);
  await b.sees("hello");
  await b.say("hello yourself");
  await second.open(bob);
  for (const one of [a, second]) await one.sees("hello yourself");
  await b.state("hello yourself", "read");
  return { a, second, b, alice, bob };
}

const head = ({ page }, name) => page.locator(".thread-head").getByRole("button", { name, exact: true });
const bar = ({ page }, user) => page.locator(".blocked-bar", { hasText: `You blocked ${user}.` });
const unblock = (window, user) => bar(window, user).getByRole("button", { name: "Unblock", exact: true });

/** The field to write in is there, and nothing in its place. */
async function writes(window, user) {
  await window.field.waitFor();
  assert.equal(await bar(window, user).isVisible(), false);
}

async function isBlocked(window, user) {
  await bar(window, user).waitFor();
  assert.equal(await window.field.count(), 0, "nothing to write in");
  await head(window, "Unblock").waitFor();
}

async function blocks(stage, user) {
  return (await stage.as(user, "GET", "/api/v1/blocks")).body.blocks.map(({ user_id }) => user_id);
}

play("who is blocked is not heard, on all of one's windows, notices nothing, and is heard again once unblocked", async (stage) => {
  const { a, second, b, alice, bob } = await pair(stage);
  await a.field.fill("half a thought");
  await head(a, "Block").click();
  for (const one of [a, second]) await isBlocked(one, bob);
  assert.deepEqual(await blocks(stage, alice), [bob]);
  await a.line("hello yourself").focus();
  assert.equal(await a.line("hello yourself").getByRole("button", { name: "Reply", exact: true }).count(), 0);
  await a.page.locator(".thread-under", { hasText: "blocked" }).waitFor();

  await b.say("can you hear me?");
  await b.state("can you hear me?", "sent");
  await writes(b, alice);
  // Another who writes is heard, so that what bob said would have been.
  const carol = stage.user("carol");
  const c = await stage.person(carol);
  await c.start([alice]);
  await c.say("hello from carol");
  for (const one of [a, second]) {
    await one.row(carol).locator(".badge", { hasText: "1" }).waitFor();
    await until(async () => (await one.page.title()) === `(1) ${alice} · Simurgh`, "carol's message alone in the title");
    assert.equal(await one.lines("can you hear me?").count(), 0);
    assert.equal(await one.row(bob).locator(".badge").count(), 0);
  }

  await unblock(second, bob).click();
  for (const one of [a, second]) await writes(one, bob);
  await second.page.locator(".compose textarea:focus").waitFor();
  assert.equal(await a.field.inputValue(), "half a thought");
  assert.deepEqual(await blocks(stage, alice), []);
  await b.say("and now?");
  // Its place stays, also after a reload.
  const heard = ["hello", "hello yourself", "Hidden from you", "and now?"];
  for (const one of [a, second]) await one.shows(heard);
  await second.page.reload();
  await second.shows(heard);
  await a.field.press("Enter");
  await b.sees("half a thought");
});

play("the members of a group and of a direct conversation can be blocked one by one", async (stage) => {
  const { a, second, alice, bob } = await pair(stage);
  const carol = stage.user("carol");
  const id = await stage.group([alice, bob, carol], { title: "Nest builders" });
  for (const one of [a, second]) {
    await one.open("Nest builders");
    assert.equal(await head(one, "Block").count(), 0, "a group cannot be blocked");
    await one.page.getByRole("button", { name: "People", exact: true }).click();
  }
  const button = (one, name) => one.page.getByRole("dialog", { name: "People" }).getByRole("button", { name, exact: true });
  assert.equal(await button(a, `Block ${alice}`).count(), 0, "nobody blocks themselves");
  await button(a, `Block ${carol}`).click();
  await button(a, `Block ${bob}`).click();
  for (const one of [a, second]) for (const user of [bob, carol]) await button(one, `Unblock ${user}`).waitFor();
  await a.page.locator('.members [data-action="block"]:focus').waitFor();
  await button(second, `Unblock ${carol}`).click();
  for (const one of [a, second]) await button(one, `Block ${carol}`).waitFor();
  assert.deepEqual(await blocks(stage, alice), [bob]);

  // In the group all goes on.
  for (const one of [a, second]) await one.page.keyboard.press("Escape");
  await a.say("Who brings twigs?");
  await a.state("Who brings twigs?", "sent");
  const said = await stage.as(bob, "POST", `/api/v1/conversations/${id}/messages`, { message_type: "text", content: "I do", client_random: 1 });
  assert.equal(said.status, 201);
  await a.sees("I do");

  await a.open(bob);
  await isBlocked(a, bob);
  await a.page.getByRole("button", { name: "People", exact: true }).click();
  await button(a, `Unblock ${bob}`).click();
  await button(a, `Block ${bob}`).waitFor();
  await a.page.keyboard.press("Escape");
  await writes(a, bob);
});

play("what was written before the other window blocked is refused in words, and sent once unblocked", async (stage) => {
  const { a, second, b, bob } = await pair(stage);
  await second.tool("Go offline").click();
  await second.connection("Offline");
  await second.say("written offline");
  await second.line("written offline").waitFor();
  await head(a, "Block").click();
  await isBlocked(a, bob);
  await writes(second, bob);
  await second.tool("Go online").click();
  await second.connection("Connected");
  await isBlocked(second, bob);
  await second.line("written offline").locator(".failed-why", { hasText: "blocked" }).waitFor();
  await unblock(second, bob).click();
  await writes(second, bob);
  await second.line("written offline").getByRole("button", { name: "Try again" }).click();
  await b.sees("written offline");
  await second.page.reload();
  await second.connection("Connected");
  await second.sees("written offline");
  await writes(second, bob);
});

play("a reload knows who is blocked, and a conversation with them is refused in words", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  assert.equal((await stage.as(alice, "PUT", `/api/v1/blocks/${bob}`)).status, 204);
  const a = await stage.person(alice);
  await a.page.getByRole("button", { name: "New conversation" }).click();
  await a.page.getByLabel("With whom?").fill(bob);
  await a.page.keyboard.press("Enter");
  a.expects(/403/, 2);
  await a.page.getByRole("button", { name: "Start", exact: true }).click();
  await a.page.getByRole("dialog").getByRole("alert").filter({ hasText: "blocked" }).waitFor();
  await stage.as(alice, "DELETE", `/api/v1/blocks/${bob}`);
  await a.page.getByRole("button", { name: "Start", exact: true }).click();
  await a.page.getByRole("heading", { name: bob, exact: true }).waitFor();
  await writes(a, bob);
  await head(a, "Block").click();
  await isBlocked(a, bob);
  await a.page.reload();
  await a.connection("Connected");
  await isBlocked(a, bob);
});

play("a block that cannot be asked for says why, and nobody is blocked", async (stage) => {
  const { a, alice, bob } = await pair(stage);
  const said = (words) => a.page.locator(".toast.problem", { hasText: words }).waitFor();
  await a.tool("Go offline").click();
  await a.connection("Offline");
  await head(a, "Block").click();
  await said(`${bob} is not blocked: You are offline.`);
  await a.page.getByRole("button", { name: "People", exact: true }).click();
  await a.page.getByRole("button", { name: `Block ${bob}` }).click();
  await a.page.getByRole("dialog").getByRole("alert").filter({ hasText: "You are offline." }).waitFor();
  await a.page.keyboard.press("Escape");
  await a.tool("Go online").click();
  await a.connection("Connected");
  a.expects(/502/, 2);
  await a.page.route("**/api/v1/blocks/*", (route) => route.fulfill({ status: 502, contentType: "text/html", body: "<h1>Bad Gateway</h1>" }));
  await head(a, "Block").click();
  await said(`${bob} is not blocked: The server is out of order (HTTP 502).`);
  await a.page.unroute("**/api/v1/blocks/*");
  assert.deepEqual(await blocks(stage, alice), []);
  await writes(a, bob);
  await head(a, "Block").click();
  await isBlocked(a, bob);
});

play("what a block kept away is not counted as unread, neither at once nor after a reload", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const b = await stage.person(bob);
  await b.start([alice]);
  await b.say("hello");
  const a = await stage.person(alice);
  const counts = async (count) => {
    await a.row(bob).locator(".badge", { hasText: new RegExp(`^${count} unread$`) }).waitFor();
    await until(async () => (await a.page.title()) === `(${count}) ${alice} · Simurgh`, `${count} in the title`);
  };
  await counts(1);
  await stage.as(alice, "PUT", `/api/v1/blocks/${bob}`);
  for (const text of ["one", "two", "three"]) await b.say(text);
  await b.state("three", "sent");
  await stage.as(alice, "DELETE", `/api/v1/blocks/${bob}`);
  await b.say("and now?");
  await a.row(bob).locator(".preview", { hasText: "and now?" }).waitFor();
  await counts(2);
  await a.page.reload();
  await counts(2);
  await a.open(bob);
  await a.shows(["hello", ...Array(3).fill("Hidden from you"), "and now?"]);
  await a.row(bob).locator(".badge").waitFor({ state: "detached" });
  await b.state("and now?", "read");
});

play("notices of blocks in any order, and ahead of the list, come to the same", async (stage) => {
  const window = await stage.window();
  const seen = await window.page.evaluate(async () => {
    const { Blocks } = await import("/page/js/client/blocks.js");
    const notices = [["bob", true, "1"], ["bob", false, "2"], ["carol", true, "3"]].map(([user_id, blocked, at]) => ({ user_id, blocked, at }));
    const outcomes = new Set();
    for (const order of [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]) {
      const blocks = new Blocks(() => {});
      // The list was read before all of it, and comes after it.
      await blocks.load(async () => {
        order.forEach((n) => blocks.told(notices[n]));
        return [{ user_id: "dave", created_at: "0" }];
      });
      outcomes.add(["bob", "carol", "dave"].filter((user) => blocks.has(user)).join());
    }
    const blocks = new Blocks(() => {});
    blocks.set("bob", true);
    await blocks.load(async () => []);
    return { outcomes: [...outcomes], forgotten: !blocks.has("bob") };
  });
  assert.deepEqual(seen, { outcomes: ["carol,dave"], forgotten: true });
});
