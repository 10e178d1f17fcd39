// What becomes of messages after they were sent: edited, deleted, answered, delivered, read; and told to who was away.

import assert from "node:assert/strict";

import { play, until } from "../support.mjs";

/** Two who have said hello. */
async function pair(stage) {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const a = await stage.person(alice);
  const b = await stage.person(bob);
  await a.start([bob]);
  await a.say("hello");
  await b.open(alice);
  await b.sees("hello");
  await a.state("hello", "read");
  return { a, b };
}

/** Cuts the connection, and awaits the next one. */
async function reconnect(window) {
  await window.rejoined(() => window.tool("Cut the socket").click());
}

/** Away until `back`: the page is there, and hears nothing. */
async function away(window) {
  await window.tool("Go offline").click();
  await window.connection("Offline");
  return () => window.rejoined(() => window.tool("Go online").click());
}

async function edit(window, text, into) {
  await window.act(text, "Edit");
  await window.page.locator(".intent", { hasText: "Editing" }).waitFor();
  assert.equal(await window.field.inputValue(), text);
  await window.field.fill(into);
  await window.page.getByRole("button", { name: "Save", exact: true }).click();
}

async function remove(window, text, choice) {
  await window.act(text, "Delete");
  const dialog = window.page.getByRole("dialog", { name: "Delete this message?" });
  await dialog.getByText(text, { exact: true }).waitFor();
  await dialog.getByRole("button", { name: choice, exact: true }).click();
}

const DELETED = "This message was deleted";
const HIDDEN = "Hidden from you";

play("an edit is seen by the other, after a lost connection and by who was away", async (stage) => {
  const { a, b } = await pair(stage);
  await edit(a, "hello", "hello there");
  for (const one of [a, b]) await one.line("hello there").locator(".edited").waitFor();
  await b.row(a.user).locator(".preview", { hasText: "hello there" }).waitFor();
  await reconnect(a);
  await edit(a, "hello there", "hello again");
  await b.sees("hello again");

  const back = await away(b);
  await edit(a, "hello again", "hello, bob");
  await a.sees("hello, bob");
  await b.sees("hello again");
  await back();
  await b.sees("hello, bob");
  await b.row(a.user).locator(".preview", { hasText: "hello, bob" }).waitFor();
  for (const one of [a, b]) {
    await one.page.reload();
    await one.line("hello, bob").locator(".edited").waitFor();
    await one.shows(["hello, bob"]);
  }
  // Another's message is not one's to edit.
  await b.line("hello, bob").focus();
  assert.equal(await b.line("hello, bob").getByRole("button", { name: "Edit" }).count(), 0);
});

play("an edit that is thought better of, or that cannot be, loses nothing of what was written", async (stage) => {
  const { a, b } = await pair(stage);
  await a.field.fill("half a thought");
  await a.act("hello", "Edit");
  await a.field.fill("nonsense");
  await a.page.keyboard.press("Escape");
  assert.equal(await a.field.inputValue(), "half a thought");
  await a.field.fill("");
  const back = await away(a);
  await edit(a, "hello", "written offline");
  await until(async () => (await a.field.inputValue()) === "written offline", "the text to be there again");
  await back();
  await a.page.getByRole("button", { name: "Save", exact: true }).click();
  await b.sees("written offline");
});

play("a message deleted for everyone is gone on both sides, and from what quotes it", async (stage) => {
  const { a, b } = await pair(stage);
  await b.react("hello", "🔥");
  await b.act("hello", "Reply");
  await b.say("hello yourself");
  await a.line("hello yourself").locator(".quote", { hasText: "hello" }).waitFor();
  await remove(a, "hello", "Delete for everyone");
  for (const one of [a, b]) {
    await one.shows([DELETED, "hello yourself"]);
    await one.line("hello yourself").locator(".quote.gone", { hasText: "Deleted message" }).waitFor();
    assert.equal(await one.line(DELETED).locator(".reaction").count(), 0);
  }
  await reconnect(b);
  await a.say("and this?");
  await b.sees("and this?");
  const back = await away(b);
  await remove(a, "and this?", "Delete for everyone");
  await a.sees(DELETED);
  await b.sees("and this?");
  await back();
  for (const one of [a, b]) await one.shows([DELETED, "hello yourself", DELETED]);
  await b.row(a.user).locator(".preview", { hasText: DELETED }).waitFor();
});

play("a message deleted for oneself is gone on all one's windows, and on no other's", async (stage) => {
  const { a, b } = await pair(stage);
  const second = await stage.person(b.user);
  await second.open(a.user);
  await second.sees("hello");
  await b.act("hello", "Delete");
  const dialog = b.page.getByRole("dialog", { name: "Delete this message?" });
  assert.equal(await dialog.getByRole("button", { name: "Delete for everyone" }).isVisible(), false, "another's message");
  const back = await away(second);
  await dialog.getByRole("button", { name: "Delete for me", exact: true }).click();
  await b.shows([HIDDEN]);
  await back();
  await second.shows([HIDDEN]);
  await reconnect(b);
  await b.shows([HIDDEN]);
  await a.shows(["hello"]);
  await b.page.reload();
  await b.shows([HIDDEN]);
});

play("a reply shows what it answers, follows its edits, and leads there", async (stage) => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const id = await stage.group([alice, bob], { title: "Long ago" });
  const sent = [];
  for (let n = 0; n < 120; n += 1) {
    const message = { sender_id: alice, message_type: "text", content: `message ${n}`, client_random: n };
    sent.push((await stage.service("POST", `/api/v1/conversations/${id}/messages`, message)).body.message_id);
  }
  const answer = { sender_id: bob, message_type: "text", content: "about that", client_random: "that", reply_to_id: sent[3] };
  assert.equal((await stage.service("POST", `/api/v1/conversations/${id}/messages`, answer)).status, 201);
  const a = await stage.person(alice);
  await a.open("Long ago");
  const quote = a.line("about that").locator(".quote");
  await quote.filter({ hasText: "message 3" }).waitFor();
  assert.equal(await quote.locator("strong").textContent(), "You");
  assert.equal(await a.page.locator('.line[data-seq="4"]').count(), 0, "not loaded yet");
  // What is quoted changes before it is loaded.
  const b = await stage.person(bob);
  await b.open("Long ago");
  const { status } = await stage.as(alice, "PATCH", `/api/v1/conversations/${id}/messages/${sent[3]}`, { content: "message three" });
  assert.equal(status, 200);
  for (const one of [a, b]) await one.line("about that").locator(".quote", { hasText: "message three" }).waitFor();
  await reconnect(a);
  await quote.click();
  await a.page.locator('.line.found[data-seq="4"]:focus').waitFor();
  await until(() => a.line("message three").evaluate((line) => {
    const { top, bottom } = line.getBoundingClientRect();
    const frame = line.closest(".scroller").getBoundingClientRect();
    return top >= frame.top && bottom <= frame.bottom;
  }), "it to be in sight");

  // By hand, with the reply cancelled and begun again, and the connection cut while it is under way.
  await a.page.getByRole("button", { name: "To the newest message" }).click();
  await a.act("about that", "Reply");
  await a.page.locator(".intent", { hasText: `Replying to ${bob}` }).waitFor();
  await a.page.getByRole("button", { name: "Cancel the reply" }).click();
  await a.page.locator(".intent:empty").waitFor({ state: "attached" });
  await a.act("about that", "Reply");
  await a.tool("Cut after send").click();
  await a.say("which one?");
  await a.line("which one?").locator(".quote", { hasText: "about that" }).waitFor();
  await b.line("which one?").locator(".quote", { hasText: "about that" }).waitFor();
  assert.equal(await b.lines("which one?").count(), 1);
  await a.state("which one?", "read");
});

play("ticks say sent, delivered and read, also of what happened meanwhile, and a list says of whom", async (stage) => {
  const [alice, bob, carol] = [stage.user("alice"), stage.user("bob"), stage.user("carol")];
  const a = await stage.person(alice);
  const b = await stage.person(bob);
  await a.start([bob, carol], "Nest builders");
  await a.say("one");
  await a.state("one", "sent");
  await b.open("Nest builders");
  await a.state("one", "read");
  // It arrives, and he looks elsewhere.
  await b.start([carol]);
  await a.say("two");
  await a.state("two", "delivered");
  await reconnect(a);
  await a.state("one", "read");
  await a.state("two", "delivered");
  const receipts = async (text) => {
    await a.act(text, "Who has read it");
    const dialog = a.page.getByRole("dialog", { name: "Who has read it" });
    await dialog.locator("[data-user]").first().waitFor();
    const said = await dialog.locator("[data-user]").evaluateAll((rows) =>
      rows.map((row) => [row.dataset.user, row.querySelector("small").textContent.replace(/ at .*/, "")]));
    await a.page.keyboard.press("Escape");
    return said;
  };
  assert.deepEqual(await receipts("two"), [[bob, "Delivered"], [carol, "Not delivered yet"]]);
  // Read while nobody hears of it.
  const back = await away(a);
  await b.open("Nest builders");
  await b.row("Nest builders").locator(".badge").waitFor({ state: "detached" });
  await back();
  await a.state("two", "read");
  assert.deepEqual(await receipts("two"), [[bob, "Read"], [carol, "Not delivered yet"]]);
  await a.page.reload();
  await a.state("two", "read");
});

play("edit, reply and delete by keyboard alone, and the focus is never lost", async (stage) => {
  const { a, b } = await pair(stage);
  const { keyboard } = a.page;
  const focused = (what) => a.page.locator(`${what}:focus`).waitFor();
  const tool = async (name) => {
    await keyboard.press("ArrowUp");
    await focused(".line");
    // Past the quote, where there is one.
    for (let n = 0; n < 3 && !(await a.page.locator("[data-tool]:focus").count()); n += 1) await keyboard.press("Tab");
    for (let n = 0; n < 9 && !(await a.page.locator(`[data-tool="${name}"]:focus`).count()); n += 1) await keyboard.press("ArrowRight");
    await focused(`[data-tool="${name}"]`);
    await a.focusIsVisible();
    await keyboard.press("Enter");
  };
  await a.field.focus();
  await tool("edit");
  await focused(".compose textarea");
  await keyboard.press("End");
  await keyboard.type(" there");
  await keyboard.press("Enter");
  await b.sees("hello there");
  await focused(".compose textarea");
  await tool("reply");
  await focused(".compose textarea");
  await keyboard.type("talking to myself");
  await keyboard.press("Enter");
  await b.line("talking to myself").locator(".quote").waitFor();
  await a.state("talking to myself", "read");
  await tool("remove");
  await a.tabTo("Delete for everyone");
  await a.focusIsVisible();
  await keyboard.press("Enter");
  await b.shows(["hello there", DELETED]);
  await a.sees(DELETED);
  await focused(".line");
  await keyboard.press("Escape");
  await focused(".compose textarea");
});

play("news that comes twice, late or ahead of other news shows the same in the end", async (stage) => {
  const window = await stage.window();
  const outcomes = await window.page.evaluate(async () => {
    const { Timeline } = await import("/page/js/client/timeline.js");
    const message = (seq, more) => ({ id: `m${seq}`, seq, sender_id: "alice", client_random: seq, content: `${seq}`, metadata: {}, ...more });
    const one = message(1);
    // It quotes what the other was when it was sent.
    const two = message(2, { reply_to_id: "m1", reply_to: { id: "m1", seq: 1, sender_id: "alice", preview: "1" } });
    const channel = [
      (timeline) => timeline.add(one),
      (timeline) => timeline.add(two),
      (timeline) => timeline.react({ message_id: "m2", user_id: "bob", reaction: "🔥" }, true),
      (timeline) => timeline.change({ ...one, content: "1, edited", edited_at: "later" }),
      (timeline) => timeline.change({ ...two, content: "2, edited", edited_at: "later" }),
      (timeline) => timeline.delete({ message_id: "m1", at: "last" }),
    ];
    // What one's own topic and the replies to one's own sends say: in no order with the channel's broadcasts.
    const elsewhere = [(timeline) => timeline.add(one), (timeline) => timeline.add(two)];
    const outcomes = new Set();
    let orders = 0;
    for (let first = 0; first <= channel.length; first += 1) {
      for (let second = 0; second <= channel.length + 1; second += 1) {
        const news = channel.toSpliced(first, 0, elsewhere[0]).toSpliced(second, 0, elsewhere[1]);
        const timeline = new Timeline("alice");
        timeline.begin(0);
        news.forEach((tell) => tell(timeline));
        const shown = timeline.shown().map((held) => [held.content, held.reactions, timeline.quote(held)?.preview]);
        outcomes.add(JSON.stringify([shown, timeline.last]));
        orders += 1;
      }
    }
    return { outcomes: [...outcomes], orders };
  });
  assert.equal(outcomes.orders, 56);
  assert.deepEqual(outcomes.outcomes, [JSON.stringify([[["", {}, undefined], ["2, edited", { "🔥": ["bob"] }, null]], 2])]);
});
