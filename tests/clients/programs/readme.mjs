// The README's snippet, pasted into a file and run as written (but for the port).

import assert from "node:assert/strict";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Program } from "../processes.mjs";
import { startLocal } from "../setups.mjs";
import { token } from "../support.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));

test("the README's snippet runs, and shows what it promises", { timeout: 60_000 }, async (t) => {
  const stack = await startLocal();
  t.after(() => stack.stop());
  const readme = readFileSync(path.join(HERE, "../../../README.md"), "utf8");
  const [, snippet] = readme.match(/```js\n(.*?)```/s);
  writeFileSync(path.join(stack.dir, "chat.mjs"), snippet.replaceAll("127.0.0.1:4000", new URL(stack.gateways[0]).host));
  symlinkSync(path.join(HERE, "../node_modules"), path.join(stack.dir, "node_modules"));

  const chat = new Program("chat", process.execPath, ["chat.mjs", token("alice"), token("bob")], { dir: stack.dir });
  const { code } = await chat.ended();
  assert.equal(code, 0, chat.stderr);
  const lines = chat.stdout.trim().split("\n");
  for (const line of [
    "alice: bob is away",
    "bob: alice starts typing",
    "bob: alice stops typing",
    "alice: bob reacts with 👍",
    "alice: bob has read #1",
    // The second one bob's lost connection lies before.
    ...["alice", "bob"].flatMap((name) => [`${name}: #1 alice says Hello World!`, `${name}: #2 alice says Still there?`]),
  ]) {
    assert.equal(lines.filter((shown) => shown === line).length, 1, `${line}\n${chat.stdout}`);
  }
});
