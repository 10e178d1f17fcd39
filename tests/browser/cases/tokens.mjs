// Who one is: tokens that are pasted, how they travel, and how they are renewed.

import assert from "node:assert/strict";

import { startLocal } from "../../clients/setups.mjs";
import { token } from "../../clients/support.mjs";
import { play, until } from "../support.mjs";

const local = process.env.SIMURGH_BROWSER_SET === "a";

play("where the page may not sign, a token is pasted, and a bad one is refused in words", async (stage) => {
  // A local stack with a secret of its own keeps it, as a plain gateway does.
  const own = local ? await startLocal({ env: { SIMURGH_JWT_SECRET: "of-my-own" } }) : undefined;
  try {
    const window = await stage.window(own && { gateway: own.gateways[0] });
    const alice = stage.user("alice");
    const good = own ? token(alice, { key: "of-my-own" }) : token(alice);
    const problem = window.page.locator(".problem");
    window.expects(/401/, 2);
    const enter = window.page.getByRole("button", { name: "Enter", exact: true });
    for (const [text, words] of [
      ["nonsense", "not a JSON Web Token"],
      [token(alice, { ttl: -60 }), "has expired"],
      [token(alice, { claims: { sub: undefined } }), "names no user"],
      [token(alice, { key: "a-foreign-secret" }), "does not take this token"],
    ]) {
      await window.page.getByLabel("Token").fill(text);
      await enter.click();
      await problem.filter({ hasText: words }).waitFor();
    }
    await window.page.getByLabel("Token").fill(`Bearer ${good}`);
    await enter.click();
    await window.connection("Connected");
    await window.page.locator(".who", { hasText: alice }).waitFor();
    // The tab remembers it, the address does not hold it.
    await window.page.reload();
    await window.connection("Connected");
    assert.ok(!window.page.url().includes(good));
    await window.page.getByRole("button", { name: "Leave and be somebody else" }).click();
    await window.page.getByLabel("Token").waitFor();
  } finally {
    await own?.stop();
  }
});

play("phoenix.js' authToken goes by subprotocol in a real browser, and params by the address", async (stage) => {
  const alice = stage.user("alice");
  const window = await stage.window();
  const addresses = [];
  window.page.on("websocket", (socket) => addresses.push(socket.url()));
  const joined = await window.page.evaluate(async ({ alice, text }) => {
    const { Socket } = await import("/page/vendor/phoenix.mjs");
    const outcomes = [];
    for (const options of [{ authToken: text }, { params: { token: text } }]) {
      const socket = new Socket("/socket", options);
      socket.connect();
      const reply = await new Promise((resolve, reject) =>
        socket.channel(`user:${alice}`, {}).join().receive("ok", resolve).receive("error", (refusal) => refusal.reason === "unavailable" || reject(refusal)));
      outcomes.push([reply.user_id, socket.conn.protocol]);
      socket.disconnect();
    }
    return outcomes;
  }, { alice, text: token(alice) });
  assert.deepEqual(joined, [[alice, "phoenix"], [alice, ""]]);
  assert.ok(!addresses[0].includes("token") && addresses[1].includes("token="), addresses.join());
  // The page itself keeps its token out of addresses.
  addresses.length = 0;
  await window.signIn(alice);
  assert.equal(addresses.length, 1);
  assert.ok(!addresses[0].includes("token"), addresses[0]);
});

play("a token that runs out is renewed on the open socket, or its end is announced", async (stage) => {
  const alice = stage.user("alice");
  if (local) {
    const window = await stage.window();
    // A clock that is twelve hours slow, less a minute, signs what runs out in a minute.
    await window.page.addInitScript(() => {
      const real = Date.now;
      let behind = 12 * 60 * 60 * 1000 - 62_000;
      Date.now = () => real() - behind;
      window.setTheClock = () => (behind = 0);
    });
    await window.page.reload();
    await window.page.locator("#name").fill(alice);
    await window.page.keyboard.press("Enter");
    await window.connection("Connected");
    await window.page.evaluate(() => window.setTheClock());
    await window.page.locator('.frame.in[data-event="token_expiring"]').waitFor();
    await window.page.locator(".frame.in .event", { hasText: "access_token → ok" }).waitFor();
    await until(async () => {
      const renewals = await window.frames("out", "access_token");
      const claims = JSON.parse(Buffer.from(renewals.at(-1)[4].access_token.split(".")[1], "base64url"));
      return claims.exp * 1000 > Date.now() + 11 * 60 * 60 * 1000;
    }, "a token for another twelve hours");
    assert.equal(await window.page.locator(".frame.note", { hasText: "socket closed" }).count(), 0);
  } else {
    const window = await stage.window();
    await window.page.getByLabel("Token").fill(token(alice, { ttl: 63 }));
    await window.page.getByRole("button", { name: "Enter", exact: true }).click();
    await window.connection("Connected");
    await window.page.locator(".toast", { hasText: "Your token expires" }).waitFor();
  }
});

play("whose access is taken away is told, and the page does not go on asking to be let in", async (stage) => {
  const alice = stage.user("alice");
  const window = await stage.person(alice);
  // The last of what the page asks for by itself.
  await window.page.locator(".list-empty").waitFor();
  await stage.service("DELETE", `/api/v1/users/${alice}/sessions`);
  await window.connection("Signed out");
  const toast = window.page.locator(".toast", { hasText: "Your access was taken away: Leave, and sign in again." });
  await toast.waitFor();
  // Long enough for phoenix.js to have tried several times.
  await toast.waitFor({ state: "detached" });
  assert.equal(await window.page.locator(".frame.note", { hasText: "opening a socket" }).count(), 1);
  await window.page.getByRole("button", { name: "Leave and be somebody else" }).click();
  await window.page.locator("#name, #token").waitFor();
});

if (local) {
  play("a name that nobody can have is refused in words", async (stage) => {
    const window = await stage.window();
    for (const name of ["José", "two words", "-dash", "constructor", "x".repeat(65)]) {
      await window.page.locator("#name").evaluate((field, text) => (field.value = text), name);
      await window.page.getByRole("button", { name: "Enter", exact: true }).click();
      await window.page.locator(".problem", { hasText: "A name has 1 to 64 of the characters A-Z a-z 0-9" }).waitFor();
      await window.page.locator("#name").fill("x");
    }
  });
}
