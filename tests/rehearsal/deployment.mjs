// Three gateways and two workers behind HAProxy, by the file that is in infra/; each process can be replaced where it is.

import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import path from "node:path";

import { ROOT, answers200, freePort } from "../clients/processes.mjs";
import { Cluster, startCluster } from "../clients/setups.mjs";
import { until } from "../clients/wait.mjs";

/** As many as infra/haproxy/haproxy.cfg names. */
const GATEWAYS = 3;
const WORKERS = 2;
/** From a gateway that is ready until HAProxy sends it clients: a check a second, and one that takes its time. */
const IN_BALANCE_MS = 15_000;

/** `folder` has the programs that it starts with, `drain` is `{delay, window}` of the gateways, as settings are written. */
export async function deploy({ folder, drain }) {
  class Kind extends Deployment {
    folder = folder;
    drain = drain;
  }
  const deployment = await startCluster({ gateways: GATEWAYS, workers: WORKERS, Kind });
  try {
    await deployment.startBalancer();
  } catch (error) {
    await deployment.stop({ keep: true });
    throw error;
  }
  return deployment;
}

class Deployment extends Cluster {
  async startGateway({ env, ...options } = {}) {
    return super.startGateway({
      folder: this.folder,
      ...options,
      env: {
        SIMURGH_TRUSTED_PROXIES: "127.0.0.1/32",
        SIMURGH_DRAIN_DELAY: this.drain.delay,
        SIMURGH_DRAIN_WINDOW: this.drain.window,
        ...env,
      },
    });
  }

  async startWorker(options = {}) {
    return super.startWorker({ folder: this.folder, ...options });
  }

  async startBalancer() {
    const address = `127.0.0.1:${await freePort()}`;
    const places = this.gatewayPrograms.map(({ url }, n) => [`GATEWAY_${n + 1}`, new URL(url).host]);
    // Only where it is asked what it does; all else is as it is deployed.
    const asking = path.join(this.dir, "asking.cfg");
    this.asked = path.join(this.dir, "haproxy.sock");
    writeFileSync(asking, `global\n  stats socket ${this.asked} mode 600\n`);
    const config = path.join(ROOT, "infra/haproxy/haproxy.cfg");
    const env = { BALANCER: address, ...Object.fromEntries(places) };
    this.balancer = this.launch("haproxy", "haproxy", ["-db", "-f", config, "-f", asking], { env });
    this.url = `http://${address}`;
    await this.balancer.ready(() => answers200(`${this.url}/readyz`));
    for (let n = 0; n < GATEWAYS; n += 1) await this.inBalance(n);
  }

  /** What HAProxy knows of the gateways, in their order: `{status, sessions}`. */
  async servers() {
    const socket = connect(this.asked);
    let said = "";
    socket.on("data", (data) => (said += data));
    socket.end("show stat\n");
    await once(socket, "close");
    const [head, ...rows] = said.trim().split("\n").map((line) => line.replace(/^# /, "").split(","));
    const column = (name) => head.indexOf(name);
    return rows
      .filter((row) => /^gateway-/.test(row[column("svname")]))
      .map((row) => ({ status: row[column("status")], sessions: Number(row[column("scur")]) }));
  }

  async inBalance(n) {
    await until(async () => (await this.servers())[n].status === "UP", { timeout: IN_BALANCE_MS, what: `gateway ${n + 1} to be in balance` });
  }

  /**
   * Ends a gateway or a worker as an orchestrator does, and starts one of `folder`'s build in its place; waits until
   * that serves. `{name, sessions, ended, endMs, readyMs}`: `ended` is `{code, signal}`, the rest in ms.
   */
  async replace(program, { grace, folder }) {
    const kind = this.gatewayPrograms.includes(program) ? "gateway" : "worker";
    const list = this[`${kind}Programs`];
    const at = list.indexOf(program);
    const sessions = kind === "gateway" ? (await this.servers())[at].sessions : undefined;
    const began = performance.now();
    const ended = await program.stop(grace);
    const gone = performance.now();
    const start = kind === "gateway" ? this.startGateway : this.startWorker;
    await start.call(this, { ...program.ports, folder });
    // It stands behind those that were there before; the place of the one that went is its own.
    list[at] = list.pop();
    if (kind === "gateway") await this.inBalance(at);
    return { name: `${kind}-${at + 1}`, sessions, ended, endMs: gone - began, readyMs: performance.now() - gone };
  }

  /** Capacity units of the store so far, by the workers that run now: `{read, write}`. */
  async units() {
    const sum = { read: 0, write: 0 };
    for (const { url } of this.workerPrograms) {
      const metrics = await (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(5000) })).text();
      for (const [, unit, value] of metrics.matchAll(/^simurgh_worker_counted_units_total\{unit="(\w+)"\} (\S+)$/gm)) sum[unit] += Number(value);
    }
    return sum;
  }

  /** Those of the gateways, workers and the balancer that have ended. */
  get dead() {
    return [...this.gatewayPrograms, ...this.workerPrograms, this.balancer].filter(({ exited }) => exited);
  }
}
