// The example of a service (examples/service), as its README runs it: it says, answers, and after a killed gateway and a
// restart of its own answers what it missed, once.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { after, before, test } from "node:test";

import { wiredFor } from "../chaos/cluster.mjs";
import { address } from "../grpc-client.mjs";
import { ROOT } from "../processes.mjs";
import { token } from "../support.mjs";
import { until } from "../wait.mjs";

const file = wiredFor({ before, after });

test("the service of the example answers every question once", { timeout: 120_000 }, async (t) => {
  const scene = file.scene(t);
  const alice = scene.user("alice");
  const [goes, stays] = file.cluster.gatewayPrograms;
  const order = `o${process.pid}`;
  const start = () => {
    const env = { ...process.env, SIMURGH_GRPC: address(goes), SIMURGH_TOKEN: token("orders", { service: true }) };
    const program = spawn(process.env.SIMURGH_TEST_GRPC_PYTHON, [path.join(ROOT, "examples/service/service.py"), order, alice], { env, stdio: ["ignore", "pipe", "inherit"] });
    program.said = "";
    program.stdout.on("data", (text) => (program.said += text));
    t.after(() => program.kill("SIGKILL"));
    return program;
  };
  let service = start();
  await until(() => service.said.includes("waiting for questions"), { timeout: 20_000, what: () => `the service to wait: ${service.said}` });
  const channel = await (await scene.client(alice, { gateway: stays.url })).join(`conversation:order:${order}`, { last_seq: 0 });
  const answers = () => channel.all("new_message").filter(({ sender_id, reply_to_id }) => sender_id === "orders" && reply_to_id);
  const answered = async (asked) => {
    await until(() => answers().length >= asked.length, { timeout: 30_000, what: () => `${asked.length} answers; ${answers().length} came` });
    assert.deepEqual(answers().map(({ reply_to_id }) => reply_to_id), asked);
  };
  const asked = [(await channel.send("Where is it?")).message_id];
  await answered(asked);

  await goes.kill();
  asked.push((await channel.send("Still there?")).message_id);
  await file.cluster.restart(goes);
  await answered(asked);

  service.kill("SIGKILL");
  await new Promise((resolve) => service.on("exit", resolve));
  asked.push((await channel.send("And now?")).message_id);
  service = start();
  // It begins behind what it said first: what it answered before is answered again with the same names, which is nothing.
  await answered(asked);
  asked.push((await channel.send("Thanks!")).message_id);
  await answered(asked);
});
