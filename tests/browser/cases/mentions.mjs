// Naming somebody in a message.

import assert from "node:assert/strict";

import { play } from "../support.mjs";

/** alice, bob and carol in a group that alice has made; alice and bob at a window. */
async function nest(stage) {
  const [alice, bob, carol] = [stage.user("alice"), stage.user("bob"), stage.user("carol")];
  const id = await stage.group([alice, bob, carol], { title: "Nest builders" });
  const a = await stage.person(alice);
  const b = await stage.person(bob);
  await a.open("Nest builders");
  return { a, b, alice, bob, carol, id };
}

async function newest(stage, { alice, id }) {
  const { body } = await stage.as(alice, "GET", `/api/v1/conversations/${id}/messages?limit=1`);
  return body.messages[0];
}

play("members are offered behind an @, and who is named is told and sees it", async (stage) => {
  const nested = await nest(stage);
  const { a, b, alice, bob, carol } = nested;
  const offered = a.page.getByRole("listbox", { name: "Members to name" }).getByRole("option");
  const options = () => offered.allTextContents();
  const chosen = () => a.page.locator('.offer [aria-selected="true"]').textContent();
  const named = async () => a.page.evaluate(() => document.getElementById(document.activeElement.getAttribute("aria-activedescendant"))?.textContent);
  // The avatar's letter, then the name.
  const option = (user) => user[0].toUpperCase() + user;

  await a.field.pressSequentially("Twigs, @");
  await offered.first().waitFor();
  assert.deepEqual(await options(), [bob, carol].map(option), "the others");
  await a.page.keyboard.press("ArrowDown");
  assert.equal(await chosen(), option(carol));
  assert.equal(await named(), option(carol), "and a screen reader hears it");
  await a.page.keyboard.press("ArrowDown");
  assert.equal(await chosen(), option(bob));
  await a.field.pressSequentially("C");
  assert.deepEqual(await options(), [option(carol)]);
  await a.page.keyboard.press("Backspace");
  await a.field.pressSequentially("bo");
  await a.page.keyboard.press("Enter");
  assert.equal(await a.field.inputValue(), `Twigs, @${bob} `);
  assert.equal(await offered.count(), 0);
  // An address is no name, and Escape closes the list alone.
  await a.field.pressSequentially(`and me@${carol} and @x and @`);
  await offered.first().waitFor();
  await a.page.keyboard.press("Escape");
  assert.equal(await offered.count(), 0);
  await a.field.pressSequentially(`! Yours, @${bob}.`);
  await a.page.keyboard.press("Enter");
  const text = `Twigs, @${bob} and me@${carol} and @x and @! Yours, @${bob}.`;
  await a.state(text, "sent");
  assert.deepEqual((await newest(stage, nested)).metadata, { mentions: [bob] });
  assert.deepEqual(await a.line(text).locator(".mention").allTextContents(), [`@${bob}`, `@${bob}`]);

  // bob has the page, and not the conversation.
  await b.row("Nest builders").locator(".named").waitFor();
  await b.open("Nest builders");
  assert.deepEqual(await b.line(text).locator(".mention.me").allTextContents(), [`@${bob}`, `@${bob}`]);
  await b.row("Nest builders").locator(".named").waitFor({ state: "detached" });
  assert.equal(await a.line(text).locator(".mention.me").count(), 0);

  // By the pointer; and an answer to alice does not name her.
  await b.field.pressSequentially("@al");
  await b.page.getByRole("option", { name: alice }).click();
  await b.field.pressSequentially("here they are");
  await b.field.press("Enter");
  await a.sees(`@${alice} here they are`);
  assert.deepEqual((await newest(stage, nested)).metadata, { mentions: [alice] });
});

play("who was away sees that they were named, and an edit names others", async (stage) => {
  const nested = await nest(stage);
  const { a, b, bob, carol } = nested;
  await b.tool("Go offline").click();
  await b.connection("Offline");
  await a.say(`Come @${bob}`);
  await a.state(`Come @${bob}`, "sent");
  await b.tool("Go online").click();
  await b.connection("Connected");
  await b.row("Nest builders").locator(".named").waitFor();
  await b.open("Nest builders");
  await b.line(`Come @${bob}`).locator(".mention.me").waitFor();
  await a.rejoined(() => a.tool("Cut the socket").click());
  await a.act(`Come @${bob}`, "Edit");
  await a.field.fill(`Come @${carol}`);
  await a.field.press("Enter");
  await b.line(`Come @${carol}`).locator(".mention:not(.me)").waitFor();
  assert.deepEqual((await newest(stage, nested)).metadata, { mentions: [carol] });
  await a.act(`Come @${carol}`, "Edit");
  await a.field.fill("Never mind");
  await a.field.press("Enter");
  await b.sees("Never mind");
  assert.deepEqual((await newest(stage, nested)).metadata, {});
});
