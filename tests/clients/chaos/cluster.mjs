// Set-up (b) with every wire in our hands: each gateway and worker has its own to NATS, each worker its own to the
// store, and before the store stands a proxy that speaks DynamoDB's errors.

import { NatsWire } from "../network/nats.mjs";
import { natsUrl } from "../processes.mjs";
import { StoreProxy } from "../network/store.mjs";
import { Wire } from "../network/tcp.mjs";
import { Cluster, startCluster } from "../setups.mjs";
import { Scene } from "../support.mjs";

/** Two gateways and two workers, unless told otherwise, each behind its own wires. */
export function startWired(options = {}) {
  return startCluster({ ...options, Kind: WiredCluster });
}

class WiredCluster extends Cluster {
  /** `{program, from, to}` of each time in which a program was stopped by SIGSTOP; `to` is open while it lasts. */
  freezes = [];

  async startServers() {
    await super.startServers();
    this.store = await StoreProxy.to(this.dynamodb.port);
  }

  async startGateway({ env, ...options } = {}) {
    const nats = await NatsWire.to(this.nats.port);
    const program = await super.startGateway({ ...options, env: { SIMURGH_NATS_URL: natsUrl(nats.port, "gateway"), ...env } });
    return Object.assign(program, { nats });
  }

  async startWorker({ env, ...options } = {}) {
    const nats = await NatsWire.to(this.nats.port);
    const store = await Wire.to(this.store.port);
    const program = await super.startWorker({
      ...options,
      env: {
        SIMURGH_NATS_URL: natsUrl(nats.port, "worker"),
        SIMURGH_DYNAMODB_ENDPOINT: `http://127.0.0.1:${store.port}`,
        ...env,
      },
    });
    return Object.assign(program, { nats, store });
  }

  /** Every process that can fail by itself. */
  get programs() {
    return [...this.gatewayPrograms, ...this.workerPrograms, this.nats];
  }

  /** Starts a program that has ended once more, where it was, and waits until it serves. */
  async restart(program) {
    program.spawn();
    await program.ready(program.serves);
  }

  freeze(program) {
    program.signal("SIGSTOP");
    this.freezes.push({ program, from: performance.now(), to: Infinity });
  }

  thaw(program) {
    program.signal("SIGCONT");
    for (const freeze of this.freezes) {
      if (freeze.program === program) freeze.to = Math.min(freeze.to, performance.now());
    }
  }

  /** For how long, of the time from `from` to `to`, the program at this address was frozen, in ms. */
  frozenFor(url, from, to) {
    return this.freezes
      .filter(({ program }) => program.url === url)
      .reduce((sum, freeze) => sum + Math.max(0, Math.min(to, freeze.to) - Math.max(from, freeze.from)), 0);
  }

  async stop(options) {
    await super.stop(options);
    for (const { nats, store } of [...this.gatewayPrograms, ...this.workerPrograms]) {
      nats?.close();
      store?.close();
    }
    this.store?.close();
  }
}

/** A wired cluster for the tests of a file, and a scene on it for each of them. */
export function wiredFor({ before, after }, options) {
  const file = {
    /** A scene whose clients are gone after the test. */
    scene(t) {
      const scene = new Scene(file.cluster.gateways);
      t.after(() => scene.close());
      return scene;
    },
  };
  before(async () => {
    file.cluster = await startWired(options);
  }, { timeout: 60_000 });
  after(() => file.cluster?.stop());
  return file;
}

/** Sends new sockets to gateways that say they are ready, as a load balancer does. */
export class Balancer {
  #ready = new Set();
  #timer;

  constructor(cluster, chance) {
    Object.assign(this, { cluster, chance });
  }

  async start() {
    await this.#look();
    return this;
  }

  async #look() {
    await Promise.all(this.cluster.gatewayPrograms.map(async (gateway) => {
      let serves = false;
      if (!gateway.exited) {
        try {
          const answer = await fetch(`${gateway.url}/readyz`, { signal: AbortSignal.timeout(1000) });
          await answer.arrayBuffer();
          serves = answer.status === 200;
        } catch {
          serves = false;
        }
      }
      if (serves) this.#ready.add(gateway);
      else this.#ready.delete(gateway);
    }));
    if (!this.stopped) this.#timer = setTimeout(() => this.#look(), 250);
  }

  /** A gateway for a new socket; where none is ready, any. */
  pick() {
    const ready = [...this.#ready];
    return this.chance.pick(ready.length > 0 ? ready : this.cluster.gatewayPrograms);
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.#timer);
  }
}
