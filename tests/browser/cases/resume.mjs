// What the page is for: lose the connection in every way, and lose nothing else.

import assert from "node:assert/strict";

import { play, until } from "../support.mjs";

const local = process.env.SIMURGH_BROWSER_SET === "a";

/** Two who have said hello. */
async function pair(stage) {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const a = await stage.person(alice);
  const b = await stage.person(bob);
  await a.start([bob]);
  await a.say("hello");
  await b.open(alice);
  await b.sees("hello");
  const { body } = await stage.as(alice, "GET", "/api/v1/conversations");
  return { a, b, id: body.conversations[0].id };
}

/** Posts numbered messages, as a service of bob's, in order of `seq`. */
async function post(stage, id, sender, texts) {
  for (let at = 0; at < texts.length; at += 20) {
    // In turn within a hand's breadth: the order is theirs.
    const answers = await Promise.all(texts.slice(at, at + 20).map((content, n) => stage.service("POST", `/api/v1/conversations/${id}/messages`, {
      sender_id: sender, message_type: "text", content, client_random: `post-${at + n}`,
    })));
    for (const answer of answers) assert.equal(answer.status, 201, JSON.stringify(answer.body));
  }
}

play("a message that is sent twice is one message, and the server says so", async (stage) => {
  const { a, b } = await pair(stage);
  await a.field.fill("only once");
  await a.tool("Send twice").click();
  await a.page.locator(".toast", { hasText: "The server had it already" }).waitFor();
  await a.page.locator(".frame .tag", { hasText: "duplicate" }).waitFor();
  for (const one of [a, b]) await one.shows(["hello", "only once"]);
  const pushed = (await a.frames("out", "send_message")).filter(([, , , , payload]) => payload.content === "only once");
  assert.equal(pushed.length, 2);
  assert.equal(pushed[0][4].client_random, pushed[1][4].client_random);
});

play("the socket cut in mid-send comes back, and the message is there once", async (stage) => {
  const { a, b } = await pair(stage);
  await a.tool("Cut after send").click();
  await a.say("cut off");
  await a.page.locator(".frame.note", { hasText: "cut right after sending" }).waitFor();
  await a.say("and one more");
  await a.state("and one more", "read");
  for (const one of [a, b]) await one.shows(["hello", "cut off", "and one more"]);
  // The reply was lost with the socket, so the message was pushed again, under the same name.
  const pushed = (await a.frames("out", "send_message")).filter(([, , , , payload]) => payload.content === "cut off");
  assert.equal(pushed.length, 2);
  assert.equal(pushed[0][4].client_random, pushed[1][4].client_random);
  const joins = (await a.frames("out", "phx_join")).filter(([, , topic]) => topic.startsWith("conversation:"));
  assert.equal(joins.at(-1)[4].last_seq, 1, "it said where it stood");
  assert.ok(joins.at(-1)[4].since, "and from when on changes are news");

  // Again and again, while both write.
  // A socket that is cut while it still connects: Chromium warns of that.
  a.expects(/WebSocket is closed before the connection is established/);
  const texts = [];
  for (let n = 0; n < 6; n += 1) {
    await a.tool("Cut the socket").click();
    await a.say(`a${n}`);
    await b.say(`b${n}`);
    texts.push(`a${n}`, `b${n}`);
  }
  const stored = (shown) => shown.length === 15 && shown.every(([seq]) => seq > 0);
  for (const one of [a, b]) await until(async () => stored(await one.shown()), "all messages, stored");
  const [seenByA, seenByB] = [await a.shown(), await b.shown()];
  assert.deepEqual(seenByA, seenByB, "one order");
  assert.deepEqual(seenByA.slice(3).map(([, text]) => text).sort(), texts.sort(), "each once");
  const mine = (letter) => seenByA.map(([, text]) => text).filter((text) => new RegExp(`^${letter}\\d$`).test(text));
  for (const letter of ["a", "b"]) assert.deepEqual(mine(letter), [0, 1, 2, 3, 4, 5].map((n) => letter + n), "in the order of writing");
});

play("offline by the button, then online: what was written and what came meanwhile are there, once, in order", async (stage) => {
  const { a, b } = await pair(stage);
  await a.tool("Go offline").click();
  await a.connection("Offline");
  await a.say("written offline");
  await a.state("written offline", "sending");
  await a.page.locator(".banner", { hasText: "What you wrote is sent as soon as" }).waitFor();
  for (const text of ["meanwhile 1", "meanwhile 2"]) await b.say(text);
  await b.state("meanwhile 2", "sent");
  // An older message changed, too: that is what `since` is for.
  await b.react("hello", "🔥");
  await b.line("hello").locator(".reaction").waitFor();
  assert.equal(await a.lines("meanwhile 1").count(), 0);
  await a.tool("Go online").click();
  await a.connection("Connected");
  await a.state("written offline", "read");
  for (const one of [a, b]) await one.shows(["hello", "meanwhile 1", "meanwhile 2", "written offline"]);
  await a.line("hello").locator(".reaction", { hasText: "🔥" }).waitFor();
  await a.page.locator(".frame .tag", { hasText: "2 missed" }).waitFor();
});

play("a network that goes away and comes back is noticed at once", async (stage) => {
  const { a, b } = await pair(stage);
  await a.page.context().setOffline(true);
  await a.connection("Offline");
  await a.say("in the tunnel");
  await b.say("are you there?");
  await b.state("are you there?", "sent");
  await a.page.context().setOffline(false);
  await a.connection("Connected");
  await a.state("in the tunnel", "read");
  for (const one of [a, b]) await one.shows(["hello", "are you there?", "in the tunnel"]);
});

play("history of 230 messages loads page by page on the way up, and what is in sight stays where it is", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const id = await stage.group([alice, bob], { title: "Long ago" });
  await post(stage, id, bob, Array.from({ length: 230 }, (_, n) => `message ${n}`));
  const a = await stage.person(alice);
  await a.row("Long ago").click();
  await a.page.locator('.line[data-seq="230"]').waitFor();
  const count = () => a.page.locator(".line").count();
  await until(async () => (await count()) >= 50, "the first page");
  assert.ok((await count()) <= 100, "not all of it at once");
  await a.page.locator('.line[data-seq="230"]').hover();
  // Whatever is on top when a page comes in is on the screen afterwards as well.
  while (!(await a.page.locator(".nothing").count())) {
    const before = await count();
    const seq = await a.page.locator(".scroller").evaluate((scroller) => {
      scroller.scrollTop = 300;
      const { top } = scroller.getBoundingClientRect();
      return [...scroller.querySelectorAll(".line")].find((line) => line.getBoundingClientRect().bottom > top).dataset.seq;
    });
    await until(async () => (await count()) > before, "an older page");
    const box = await a.page.locator(`.line[data-seq="${seq}"]`).boundingBox();
    const frame = await a.page.locator(".scroller").boundingBox();
    assert.ok(box.y + box.height > frame.y - 1 && box.y < frame.y + frame.height, `message ${seq} is still in sight`);
  }
  const shown = await a.shown();
  assert.deepEqual(shown.map(([seq]) => seq), Array.from({ length: 230 }, (_, n) => n + 1), "all, once, in order");
  await a.page.getByRole("button", { name: "To the newest message" }).click();
  await until(() => a.page.locator(".scroller").evaluate((one) => one.scrollHeight - one.scrollTop - one.clientHeight < 2), "the end");
});

play("who scrolls up in the moment that news is drawn stays there", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const id = await stage.group([alice, bob], { title: "Just now" });
  await post(stage, id, bob, Array.from({ length: 40 }, (_, n) => `message ${n}`));
  const a = await stage.window();
  await a.page.addInitScript(() => {
    const timer = window.setTimeout;
    window.rings = (work) => work();
    window.setTimeout = (work, ms) => timer(() => window.rings(work), ms);
  });
  await a.page.reload();
  await a.signIn(alice);
  await a.row("Just now").click();
  await a.page.locator('.line[data-seq="40"]').waitFor();
  const scroller = a.page.locator(".scroller");
  const below = () => scroller.evaluate((one) => one.scrollHeight - one.scrollTop - one.clientHeight);
  await until(async () => (await below()) < 2, "the end");
  // Whichever timer draws the news: within its task, so ahead of the browser's event.
  await scroller.evaluate((one) => {
    const drawn = () => one.querySelector('.line[data-seq="41"]');
    window.rings = (work) => {
      if (drawn()) return work();
      const top = one.scrollTop;
      one.scrollTop -= 500;
      work();
      if (!drawn()) one.scrollTop = top;
    };
  });
  await stage.as(bob, "POST", `/api/v1/conversations/${id}/messages`, { message_type: "text", content: "news", client_random: "news" });
  await a.page.locator('.line[data-seq="41"]').waitFor();
  await a.page.locator(".jump.shown").waitFor();
  assert.ok((await below()) > 450, `${await below()} pixels above the end`);
  await a.page.getByRole("button", { name: "To the newest message" }).click();
  await until(async () => (await below()) < 2, "the end again");
  await a.page.locator(".jump:not(.shown)").waitFor({ state: "attached" });
});

play("history that cannot be had is said so, and asked for again by a button or once the connection is back", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const id = await stage.group([alice, bob], { title: "Long ago" });
  await post(stage, id, bob, Array.from({ length: 130 }, (_, n) => `message ${n}`));
  const a = await stage.person(alice);
  a.expects(/403/, 4);
  let asked = 0;
  const older = "**/messages?before_seq=*";
  await a.page.route(older, (route) => {
    asked += 1;
    const error = { reason: "forbidden", message: "not today" };
    return route.fulfill({ status: 403, contentType: "application/json", body: JSON.stringify({ error }) });
  });
  await a.row("Long ago").click();
  const again = a.page.locator(".older").getByRole("button", { name: "Try again" });
  await again.waitFor();
  await a.page.locator(".toast", { hasText: "Older messages could not be fetched: not today" }).waitFor();
  // What is drawn anew meanwhile does not ask again.
  await stage.as(bob, "POST", `/api/v1/conversations/${id}/messages`, { message_type: "text", content: "news", client_random: "news" });
  await a.sees("news");
  await a.page.locator(".toast").waitFor({ state: "detached" });
  assert.equal(asked, 1);
  await again.click();
  await until(() => asked === 2, "another question");
  await again.waitFor();
  await a.page.unroute(older);
  await again.click();
  await a.page.locator('.line[data-seq="81"]').waitFor();

  // Offline nothing is asked for in vain for ever, and what was not had comes with the connection.
  await a.page.locator(".scroller").evaluate((scroller) => (scroller.scrollTop = scroller.scrollHeight));
  await a.tool("Go offline").click();
  await a.connection("Offline");
  await a.page.locator(".scroller").evaluate((scroller) => (scroller.scrollTop = 0));
  await again.waitFor();
  const before = Math.min(...(await a.shown()).map(([seq]) => seq));
  assert.ok(before > 1, "there is more");
  await a.tool("Go online").click();
  await a.page.locator(`.line[data-seq="${before - 1}"]`).waitFor();
});

if (local) {
  play("more was missed than a join's reply holds: the rest comes by HTTP", async (stage) => {
    const { a, b, id } = await pair(stage);
    await a.tool("Go offline").click();
    await a.connection("Offline");
    await post(stage, id, b.user, Array.from({ length: 620 }, (_, n) => `missed ${n}`));
    await a.tool("Go online").click();
    await a.page.locator('.line[data-seq="621"]').waitFor();
    await a.page.locator(".frame .tag", { hasText: "truncated" }).waitFor();
    assert.deepEqual((await a.shown()).map(([seq]) => seq), Array.from({ length: 621 }, (_, n) => n + 1));
    await a.say("read all of it");
    await b.sees("read all of it");
  });
}
