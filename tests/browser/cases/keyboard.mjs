// Without a mouse.

import assert from "node:assert/strict";

import { play } from "../support.mjs";

play("everything can be reached and done by keyboard, and the focus shows", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const b = await stage.person(bob);
  const a = await stage.person(alice);
  const { keyboard } = a.page;
  const focused = (what) => a.page.locator(`${what}:focus`).waitFor();

  await a.tabTo("New conversation");
  await a.focusIsVisible();
  await keyboard.press("Enter");
  await focused("#people");
  await a.focusIsVisible();
  await keyboard.type(bob);
  await keyboard.press("Enter");
  await keyboard.press("Enter");
  await focused(".compose textarea");
  await a.focusIsVisible();
  await keyboard.type("no mouse");
  await keyboard.press("Enter");
  await a.state("no mouse", "sent");
  await keyboard.type("at all");
  await keyboard.press("Enter");
  await b.open(alice);
  await b.sees("at all");

  // Up from the empty field to the messages, along them, and a reaction.
  await keyboard.press("ArrowUp");
  await focused(".line");
  await a.focusIsVisible();
  await keyboard.press("ArrowUp");
  assert.equal(await a.page.evaluate(() => document.activeElement.querySelector(".text").textContent), "no mouse");
  await keyboard.press("Tab");
  await a.focusIsVisible();
  await keyboard.press("ArrowRight");
  assert.equal(await a.page.evaluate(() => document.activeElement.dataset.tool), "❤️");
  await keyboard.press("Enter");
  await b.line("no mouse").getByRole("button", { name: `❤️ by ${alice}` }).waitFor();
  await keyboard.press("Escape");
  await focused(".compose textarea");

  // The panel, the people, the list.
  await a.tabTo("Cut the socket");
  await a.focusIsVisible();
  await keyboard.press("Enter");
  await a.page.locator(".frame.note", { hasText: "socket closed" }).waitFor();
  await a.connection("Connected");
  await a.tabTo("Frames");
  await keyboard.press("End");
  await keyboard.press("Enter");
  await a.page.locator(".frame details[open] pre").waitFor();
  await keyboard.press("Home");
  await a.tabTo("Your status");
  await a.focusIsVisible();
  await a.tabTo("People");
  await keyboard.press("Enter");
  await a.page.getByRole("dialog", { name: "People" }).waitFor();
  await keyboard.press("Escape");
  await a.page.getByRole("dialog", { name: "People" }).waitFor({ state: "hidden" });
  await a.page.locator('button[aria-label="People"]:focus').waitFor();
});
