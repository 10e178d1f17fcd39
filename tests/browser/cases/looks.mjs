// How it looks: pictures for people, and what can be measured about them.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";

import { ARTEFACTS, play, until } from "../support.mjs";

const SCHEMES = ["light", "dark"];
const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const SET = process.env.SIMURGH_BROWSER_SET;

/** Text and what it stands on, by the names of the page's colours. */
const PAIRS = [
  ["ink", "paper"], ["ink", "surface"], ["soft", "paper"], ["soft", "surface"], ["soft", "raised"], ["accent", "surface"],
  ["on-accent", "accent"], ["on-mine", "mine"], ["on-mine", "mine-end"], ["soft-mine", "mine"], ["danger", "surface"],
  ["saffron", "paper"], ["night-ink", "night"], ["night-ink", "night-raised"], ["night-soft", "night"],
  ["night-soft", "night-raised"], ["night-accent", "night-raised"], ["night-ink", "night-line"],
];

async function picture({ page }, name) {
  mkdirSync(ARTEFACTS, { recursive: true });
  await page.screenshot({ path: path.join(ARTEFACTS, `${SET}-${name}.png`), animations: "disabled" });
}

/** The contrast of two colours as WCAG 2.2 defines it. */
function contrast(one, other) {
  const luminance = (hex) => {
    const [r, g, b] = hex.match(/\w\w/g).map((part) => parseInt(part, 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

/** Nothing sticks out to the side, and every button is big enough for a finger (WCAG 2.2: 24 pixels). */
async function fits({ page }, where) {
  const { wide, small } = await page.evaluate(() => {
    const shown = (node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    const buttons = [...document.querySelectorAll("button, select, summary, .primary")].filter(shown);
    return {
      wide: document.documentElement.scrollWidth - innerWidth,
      small: buttons.filter((node) => {
        const { width, height } = node.getBoundingClientRect();
        return (width < 24 || height < 24) && height > 0;
      }).map((node) => node.outerHTML.slice(0, 120)),
    };
  });
  assert.ok(wide <= 0, `${where} is ${wide} px too wide`);
  assert.deepEqual(small, [], `${where} has buttons too small to hit`);
}

for (const scheme of SCHEMES) {
  play(`texts are legible: ${scheme}`, async (stage) => {
    const window = await stage.window({ colorScheme: scheme });
    const colours = await window.page.evaluate((names) => {
      const style = getComputedStyle(document.documentElement);
      return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    }, [...new Set(PAIRS.flat())]);
    for (const [text, ground] of PAIRS) {
      const found = contrast(colours[text], colours[ground]);
      assert.ok(found >= 4.5, `${text} on ${ground}: ${found.toFixed(2)}, 4.5 is needed (${colours[text]} on ${colours[ground]})`);
    }
  });

  for (const [size, viewport] of Object.entries(SIZES)) {
    play(`pictures: ${size}, ${scheme}`, async (stage) => {
      const look = { viewport, colorScheme: scheme, hasTouch: size === "phone", isMobile: size === "phone" };
      const name = (what) => `${what}-${size}-${scheme}`;
      const [alice, bob, carol] = ["alice", "bob", "carol"].map((one) => stage.user(one));
      const first = await stage.window(look);
      await first.page.locator(".welcome-card").waitFor();
      await fits(first, "the first screen");
      await picture(first, name("1-welcome"));
      await first.signIn(alice);
      await first.page.locator(".list-empty").waitFor();
      await fits(first, "the empty list");
      await picture(first, name("2-nobody"));

      const b = await stage.person(bob);
      const c = await stage.person(carol);
      await c.start([alice]);
      await c.say("Seven valleys, they say. Bring shoes.");
      await c.start([alice, bob], "Nest builders");
      await c.say("Who brings twigs?");
      await first.row("Nest builders").locator(".badge").waitFor();
      await first.start([bob]);
      await first.page.getByText("Nothing has been said yet").waitFor();
      await picture(first, name("3-empty"));
      await b.open(alice);
      await first.say("Did you see the hoopoe this morning?");
      await first.say("It sat on the wall for ten minutes and looked at us as if we were late.\nThen it went east.");
      // Nothing moves any more by then.
      await b.page.locator(".line", { hasText: "It sat on the wall" }).waitFor();
      await b.react("Did you see the hoopoe this morning?", "❤️");
      await b.say("I did! 🐦");
      await b.say("We should follow it. What is the worst that could happen?");
      await first.line("I did! 🐦").waitFor();
      await first.say("Thirty of us? Nothing at all.");
      await first.state("Thirty of us? Nothing at all.", "read");
      await b.field.pressSequentially("Then");
      await first.page.locator(".typing:not(:empty)").waitFor();
      await first.page.locator(".reaction").waitFor();
      await fits(first, "a conversation");
      await picture(first, name("4-chat"));
      await b.act("It sat on the wall for ten minutes and looked at us as if we were late.\nThen it went east.", "Reply");
      await b.say("Or as if it were early");
      await first.act("Thirty of us? Nothing at all.", "Delete");
      await fits(first, "the question before a deletion");
      await picture(first, name("4a-delete"));
      await first.page.getByRole("button", { name: "Delete for everyone" }).click();
      await first.sees("This message was deleted");
      await first.act("Or as if it were early", "Reply");
      await fits(first, "a conversation with a reply, and one begun");
      await picture(first, name("4b-reply"));
      await first.page.keyboard.press("Escape");

      await until(async () => (await first.page.locator(".wire").isVisible()) || first.page.getByRole("button", { name: "Frames", exact: true }).click().then(() => false), "the frames");
      await first.tool("Go offline").click();
      await first.say("Wait for me");
      await first.page.locator(".banner", { hasText: "You are offline" }).waitFor();
      await fits(first, "the frames");
      await picture(first, name("5-offline"));
      await first.tool("Go online").click();
      await first.state("Wait for me", "read");
      await first.page.locator('.frame.in[data-event="phx_reply"] .tag').last().waitFor();
      await first.page.locator('.frame.in[data-event="phx_reply"] summary').last().click();
      await picture(first, name("6-frames"));
      await first.page.getByRole("button", { name: "Close the frames" }).click();

      await first.page.getByRole("button", { name: "Mute", exact: true }).click();
      await fits(first, "muting");
      await picture(first, name("6a-mute"));
      await first.page.getByRole("button", { name: "Until I unmute it" }).click();
      await first.page.getByRole("button", { name: "Muted", exact: true }).waitFor();
      await first.page.getByRole("button", { name: "Block", exact: true }).click();
      await first.page.locator(".blocked-bar").waitFor();
      await fits(first, "a conversation with whom one blocks");
      await picture(first, name("6b-blocked"));
      await first.page.locator(".blocked-bar").getByRole("button", { name: "Unblock" }).click();
      await first.page.getByRole("button", { name: "People" }).click();
      await fits(first, "the members");
      await picture(first, name("7-people"));
      await first.page.keyboard.press("Escape");
      if (size === "phone") await first.page.getByRole("button", { name: "Back to the conversations" }).click();
      await first.row("Nest builders").waitFor();
      await picture(first, name("8-list"));
      await first.open("Nest builders");
      await first.page.getByRole("button", { name: "People" }).click();
      await first.page.getByRole("button", { name: `Block ${bob}` }).click();
      await first.page.getByRole("button", { name: `Unblock ${bob}` }).waitFor();
      await fits(first, "the members of a group");
      await picture(first, name("8a-members"));
      await first.page.keyboard.press("Escape");
      if (size === "phone") await first.page.getByRole("button", { name: "Back to the conversations" }).click();
      await first.page.getByRole("button", { name: "New conversation" }).click();
      for (const user of [bob, carol]) {
        await first.page.getByLabel("With whom?").fill(user);
        await first.page.keyboard.press("Enter");
      }
      await fits(first, "the dialog");
      await picture(first, name("9-start"));
    });
  }
}
