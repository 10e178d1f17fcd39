// Two people, two windows, one conversation.

import assert from "node:assert/strict";

import { play, until } from "../support.mjs";

const local = process.env.SIMURGH_BROWSER_SET === "a";

play("two windows chat as two users: sending, sent, read", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const a = await stage.person(alice);
  const b = await stage.person(bob);
  await a.start([bob]);
  await a.page.getByText("Nothing has been said yet").waitFor();
  await a.say("Hello!");
  await a.state("Hello!", "sent");
  await b.open(alice);
  await b.sees("Hello!");
  await a.state("Hello!", "read");
  await b.say("Hello yourself <b>& co</b>");
  await a.sees("Hello yourself <b>& co</b>");
  await b.state("Hello yourself <b>& co</b>", "read");
  await a.field.fill("two");
  await a.field.press("Shift+Enter");
  await a.field.pressSequentially("lines");
  await a.page.getByRole("button", { name: "Send", exact: true }).click();
  await b.sees("two\nlines");
  for (const one of [a, b]) await one.shows(["Hello!", "Hello yourself <b>& co</b>", "two\nlines"]);

  // A reload is somebody who comes back: the same user, the same conversation.
  await b.page.reload();
  await b.connection("Connected");
  await b.shows(["Hello!", "Hello yourself <b>& co</b>", "two\nlines"]);
  assert.match(await b.page.title(), new RegExp(`^${bob} · Simurgh$`));
});

play("typing shows while somebody types, and ends with the message", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const a = await stage.person(alice);
  const b = await stage.person(bob);
  await a.start([bob]);
  await b.open(alice);
  await b.field.pressSequentially("I am wri");
  await a.page.locator(".typing", { hasText: `${bob} is typing` }).waitFor();
  await a.row(bob).locator(".preview", { hasText: "typing" }).waitFor();
  await b.field.pressSequentially("ting");
  await b.field.press("Enter");
  await a.sees("I am writing");
  await a.page.locator(".typing:empty").waitFor({ state: "attached" });
  // Whoever thinks better of it stops, too.
  await b.field.fill("n");
  await a.page.locator(".typing", { hasText: "is typing" }).waitFor();
  await b.field.fill("");
  await a.page.locator(".typing:empty").waitFor({ state: "attached" });
});

play("reactions come and go on both sides", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const a = await stage.person(alice);
  const b = await stage.person(bob);
  await a.start([bob]);
  await a.say("Look, a hoopoe");
  await b.open(alice);
  await b.react("Look, a hoopoe", "🎉");
  const reaction = (one, users) => one.line("Look, a hoopoe").getByRole("button", { name: `🎉 by ${users}`, exact: true });
  await reaction(a, bob).waitFor();
  await reaction(a, bob).click();
  await reaction(b, `${bob}, ${alice}`).waitFor();
  await reaction(b, `${bob}, ${alice}`).click();
  await reaction(a, alice).waitFor();
  assert.equal(await reaction(a, alice).getAttribute("aria-pressed"), "true");
  assert.equal(await reaction(b, alice).getAttribute("aria-pressed"), "false");
  // It is in the history as well.
  await a.page.reload();
  await reaction(a, alice).waitFor();
  await reaction(a, alice).click();
  await b.line("Look, a hoopoe").locator(".reaction").waitFor({ state: "detached" });
});

play("the list counts what is unread, and forgets it when it is read", async (stage) => {
  const [alice, bob, carol] = [stage.user("alice"), stage.user("bob"), stage.user("carol")];
  const b = await stage.person(bob);
  const a = await stage.person(alice);
  await b.start([carol]);
  await a.start([bob]);
  for (const text of ["one", "two", "three"]) await a.say(text);
  await b.row(alice).locator(".badge", { hasText: "3" }).waitFor();
  await b.row(alice).locator(".preview", { hasText: "three" }).waitFor();
  await until(async () => (await b.page.title()).startsWith("(3) "), "the count in the title");
  assert.equal(await b.page.locator(".conversation .title").first().textContent().then((text) => text.startsWith(alice)), true);
  await b.open(alice);
  await b.row(alice).locator(".badge").waitFor({ state: "detached" });
  await b.page.locator(".fresh").waitFor();
  await a.state("three", "read");

  // What came while nobody was there is counted all the same.
  await b.row(carol).click();
  await b.page.getByRole("heading", { name: carol, exact: true }).waitFor();
  await b.page.goto("about:blank");
  await a.say("four");
  await a.say("five");
  await a.state("five", "sent");
  await b.page.goto(`${b.gateway}/${local ? `#${encodeURIComponent(bob)}` : ""}`);
  await b.connection("Connected");
  await b.row(alice).locator(".badge", { hasText: "2" }).waitFor();
});

play("a click that a message comes into opens the conversation all the same", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const a = await stage.person(alice);
  const b = await stage.person(bob);
  await a.start([bob]);
  await a.say("one");
  const preview = (words) => b.row(alice).locator(".preview", { hasText: words });
  await preview("one").waitFor();
  const { x, y } = await preview("one").boundingBox();
  await b.page.mouse.move(x + 2, y + 2);
  await b.page.mouse.down();
  await a.say("two");
  await preview("two").waitFor();
  await b.page.mouse.up();
  await b.sees("two");
});

play("dots show who is online, away, busy and gone", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const a = await stage.person(alice);
  await a.start([bob]);
  const dot = (status) => a.row(bob).locator(`.dot[data-status="${status}"]`).waitFor();
  await dot("offline");
  const b = await stage.person(bob);
  await dot("online");
  for (const [word, status] of [["Away", "away"], ["Busy", "busy"], ["Invisible", "offline"], ["Online", "online"]]) {
    await b.page.getByLabel("Your status").selectOption(word);
    await dot(status);
  }
  await a.page.locator(".thread-under", { hasText: "online" }).waitFor();
  await b.page.getByRole("button", { name: "Leave and be somebody else" }).click();
  await dot("offline");
  await a.page.locator(".thread-under", { hasText: "last seen" }).waitFor();
});

play("a group: its name, its members, who reads, and who is added", async (stage) => {
  const [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map((name) => stage.user(name));
  const a = await stage.person(alice);
  const b = await stage.person(bob);
  const c = await stage.person(carol);
  await a.start([bob, carol], "Nest builders");
  await b.open("Nest builders");
  await a.page.locator(".thread-under", { hasText: "3 people, 2 here now" }).waitFor();
  await a.say("Who brings twigs?");
  await b.line("Who brings twigs?").locator(".sender", { hasText: alice }).waitFor();
  await c.row("Nest builders").locator(".preview", { hasText: `${alice}: Who brings twigs?` }).waitFor();
  await a.line("Who brings twigs?").getByText(`Read by ${bob}`).waitFor({ state: "attached" });

  await a.page.getByRole("button", { name: "People" }).click();
  const member = (user) => a.page.locator(".members li", { hasText: user });
  await member(bob).locator('.dot[data-status="online"]').waitFor();
  await member(carol).locator('.dot[data-status="offline"]').waitFor();
  // carol shows herself by adding alice, wherever she is.
  await c.open("Nest builders");
  await c.page.getByRole("button", { name: "People" }).click();
  await c.page.locator(".members li", { hasText: alice }).getByRole("button", { name: "Add contact" }).click();
  await c.page.locator(".members li", { hasText: alice }).getByRole("button", { name: "Contact", exact: true }).waitFor();
  await c.page.getByRole("button", { name: "Close", exact: true }).click();
  await c.page.getByLabel("Your status").selectOption("Busy");
  await member(carol).locator('.dot[data-status="busy"]').waitFor();
  await a.page.getByLabel("Add somebody").fill(dave);
  await a.page.keyboard.press("Enter");
  await member(dave).waitFor();
  await a.page.keyboard.press("Escape");
  await c.page.locator(".thread-under", { hasText: "4 people" }).waitFor();
  const d = await stage.person(dave);
  await d.open("Nest builders");
  await d.sees("Who brings twigs?");

  // Who is removed by its creator is told, and the conversation is gone.
  const { body } = await stage.as(alice, "GET", "/api/v1/conversations");
  await stage.as(alice, "DELETE", `/api/v1/conversations/${body.conversations[0].id}/members/${dave}`);
  await d.page.locator(".toast", { hasText: "You are no longer in Nest builders" }).waitFor();
  assert.equal(await d.row("Nest builders").count(), 0);
});
