// What is deleted is gone: nothing that a message said is found in the table, in what the broker keeps on disk, or in any
// program's log, also where it was edited, answered, retried over a killed worker, and missed by somebody.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

import { wiredFor } from "../chaos/cluster.mjs";
import { sendSurely } from "../chaos/surely.mjs";
import { until } from "../wait.mjs";

// The logs say all that they can.
const file = wiredFor({ before, after }, { env: { SIMURGH_LOG: "trace" } });

/** Every item of the table as DynamoDB tells it, as one text. */
async function table() {
  let dump = "";
  let from;
  do {
    const response = await fetch(file.cluster.dynamodb.url, {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": "DynamoDB_20120810.Scan",
        // The emulator keeps tables by key and region, and looks at no signature.
        authorization: "AWS4-HMAC-SHA256 Credential=walk/20260101/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
      },
      body: JSON.stringify({ TableName: "simurgh", ConsistentRead: true, ...(from && { ExclusiveStartKey: from }) }),
    });
    const page = await response.json();
    assert.equal(response.status, 200, JSON.stringify(page));
    dump += JSON.stringify(page.Items);
    from = page.LastEvaluatedKey;
  } while (from);
  return dump;
}

/** The bytes of all files below a folder whose name ends so. */
function bytes(folder, ending = "") {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile() && entry.name.endsWith(ending));
  return Buffer.concat(files.map((entry) => readFileSync(path.join(entry.parentPath ?? entry.path, entry.name))));
}

const stream = () => bytes(path.join(file.cluster.dir, "nats-server"));
const logs = () => Buffer.concat([bytes(file.cluster.dir, ".out"), bytes(file.cluster.dir, ".err")]);

test("nothing of what a deleted message said is in the table, the stream or the logs", { timeout: 120_000 }, async (t) => {
  const scene = file.scene(t);
  const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => scene.user(name));
  const id = await scene.group([alice, bob, carol]);
  const [a, b] = await scene.joined([alice, bob], id);
  // Words that occur nowhere else, in each place that a client can put them.
  const word = (what) => `${what}${randomBytes(12).toString("hex")}`;
  const words = { content: word("content"), metadata: word("metadata"), edited: word("edited"), retried: word("retried"), hidden: word("hidden") };
  const kept = word("kept");

  const first = await a.send(words.content, { metadata: { note: words.metadata, mentions: [carol] } });
  await b.send("an answer", { reply_to_id: first.message_id });
  await b.push("add_reaction", { message_id: first.message_id, reaction: "👍" });
  await a.push("edit_message", { message_id: first.message_id, content: words.edited });
  const retried = sendSurely(a, words.retried);
  await file.cluster.workerPrograms[0].kill();
  const second = await retried;
  await file.cluster.restart(file.cluster.workerPrograms[0]);
  const third = await a.send(words.hidden);
  await a.send(kept);

  const before = await table();
  for (const said of [words.edited, words.retried, words.hidden, kept]) assert.ok(before.includes(said), `${said} is stored at first`);
  // Carol was away: she missed all of them, and the stream names them.
  await until(() => [first, second, third].every(({ message_id }) => stream().includes(message_id)), { timeout: 30_000, what: () => "what carol missed to be in the stream" });
  for (const { name } of [...file.cluster.gatewayPrograms, ...file.cluster.workerPrograms]) {
    assert.ok(bytes(file.cluster.dir, `${name}.err`).includes("connected to NATS"), `${name} logs`);
  }

  await b.push("delete_message", { message_id: third.message_id, for_everyone: false });
  for (const { message_id } of [first, second, third]) {
    assert.deepEqual(await a.push("delete_message", { message_id, for_everyone: true }), { message_deleted: true });
  }
  // Whoever joins, resumes or lists reads it once more.
  await scene.joined([carol], id);
  assert.equal((await scene.as(carol, "GET", "/api/v1/conversations")).status, 200);
  assert.equal((await scene.as(carol, "GET", `/api/v1/conversations/${id}/messages?limit=50`)).status, 200);

  const dump = await table();
  const [written, logged] = [stream(), logs()];
  assert.ok(dump.includes(kept), "what was not deleted is there");
  assert.ok(dump.includes(first.message_id), "and the tombstones are");
  for (const [what, said] of Object.entries(words)) {
    assert.ok(!dump.includes(said), `${what} in the table`);
    assert.ok(!written.includes(said), `${what} on the broker's disk`);
    assert.ok(!logged.includes(said), `${what} in a log`);
  }
});
