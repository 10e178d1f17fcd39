// The example of a push service (examples/push), as something that runs beside a cluster and is looked at.

import { spawn } from "node:child_process";
import path from "node:path";

import { ROOT } from "./processes.mjs";
import { until } from "./wait.mjs";

/** Its program, which consumes what users missed; `pushes` is what it printed. It is ended with the test. */
export class PushService {
  pushes = [];
  said = "";

  static async start(t, cluster, { consumer = "push" } = {}) {
    const service = new PushService();
    const env = {
      ...process.env, NATS_URL: `nats://127.0.0.1:${cluster.nats.port}`, NATS_USER: "push", NATS_PASSWORD: "push-password",
      PUSH_CONSUMER: consumer,
    };
    service.process = spawn(process.env.SIMURGH_TEST_PUSH_PYTHON, [path.join(ROOT, "examples/push/push.py")], { env, stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => service.kill());
    let rest = "";
    service.process.stdout.on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      service.said += text;
      service.pushes.push(...lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line)));
    });
    await until(() => service.said.includes("consuming"), { timeout: 20_000, what: () => `the push service to consume: ${service.said}` });
    return service;
  }

  /** What it pushed to the user, by `seq`, each once however often it came. */
  to(user, conversation) {
    const own = this.pushes.filter(({ to, data }) => to === user && data.conversation_id === conversation);
    return [...new Map(own.map((push) => [push.collapse_id, push.data.seq])).values()];
  }

  /** Awaits that exactly these were pushed to the user. */
  async has(user, conversation, seqs, { timeout = 15_000 } = {}) {
    const seen = () => JSON.stringify(this.to(user, conversation));
    await until(() => seqs.every((seq) => this.to(user, conversation).includes(seq)), { timeout, what: () => `pushes to ${user} of ${seqs}; came: ${seen()}` });
  }

  async kill(signal = "SIGKILL") {
    if (this.process.exitCode !== null || this.process.signalCode) return;
    const ended = new Promise((resolve) => this.process.on("exit", resolve));
    this.process.kill(signal);
    await ended;
  }
}
