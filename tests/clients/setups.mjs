// The set-ups that the walk runs against. Each answers with `{gateways, secret, stop}`.

import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { Program, ROOT, answers200, binary, freePort, natsUrl, startDynamoDb, startNats } from "./processes.mjs";
import { together } from "./wait.mjs";

/** A folder for a set-up's files and logs. */
export function scratch() {
  return mkdtempSync(path.join(tmpdir(), "simurgh-walk-"));
}

/** Removes a set-up's folder, unless its logs are wanted: `SIMURGH_WALK_KEEP=1` keeps all of them. */
function discard(dir, keep) {
  if (process.env.SIMURGH_WALK_KEEP) console.log(`logs: ${dir}`);
  else if (!keep) rmSync(dir, { recursive: true, force: true });
}

/** (a) The local stack, as `cargo run` starts it but for its ports and its folder. */
export async function startLocal(options = {}) {
  const local = new Local(options.dir ?? scratch());
  await local.start(options.env);
  return local;
}

class Local {
  secret = "dev-secret";

  constructor(dir) {
    this.dir = dir;
  }

  async start(env = {}) {
    const [port, internal, worker] = [await freePort(), await freePort(), await freePort()];
    this.gateways = [`http://127.0.0.1:${port}`];
    this.program = new Program("simurgh", binary("simurgh"), [], {
      dir: this.dir,
      env: {
        SIMURGH_DATA_DIR: path.join(this.dir, "data"),
        SIMURGH_LISTEN: `127.0.0.1:${port}`,
        SIMURGH_INTERNAL_LISTEN: `127.0.0.1:${internal}`,
        SIMURGH_WORKER_LISTEN: `127.0.0.1:${worker}`,
        SIMURGH_DRAIN_WINDOW: "1s",
        ...env,
      },
    });
    const began = performance.now();
    await this.program.ready(() => answers200(`${this.gateways[0]}/readyz`));
    this.startMs = performance.now() - began;
  }

  async stop({ keep = false } = {}) {
    await this.program?.kill();
    discard(this.dir, keep);
  }
}

/** (b) Two gateways and two workers on a real broker and DynamoDB Local, as a developer starts them: `localstack/up`. */
export async function startUp({ env } = {}) {
  const dir = scratch();
  const program = new Program("up", path.join(ROOT, "localstack/up"), ["--json"], {
    dir,
    env: { ...toolsOfTheTests(), ...env },
  });
  const began = performance.now();
  try {
    // It says nothing before everything serves.
    await program.ready(() => program.stdout.includes("\n"), 60_000);
  } catch (error) {
    discard(dir, false);
    throw error;
  }
  const startMs = performance.now() - began;
  const { gateways, secret, processes, dir: logs } = JSON.parse(program.stdout);
  const stop = async ({ keep = false } = {}) => {
    // It keeps its folder where something went wrong, and here the cases say whether.
    if (keep) cpSync(logs, path.join(dir, "logs"), { recursive: true });
    await program.stop(20_000);
    discard(dir, keep);
  };
  return { gateways, secret, processes, stop, dir, startMs, program };
}

/** What tells a program that the tests start where its own programs are. */
function toolsOfTheTests() {
  const { SIMURGH_TEST_BIN, SIMURGH_TEST_NATS_SERVER, SIMURGH_TEST_DYNAMODB_LOCAL } = process.env;
  const known = { SIMURGH_TEST_BIN: SIMURGH_TEST_BIN ?? path.join(ROOT, "target/ci"), SIMURGH_TEST_NATS_SERVER, SIMURGH_TEST_DYNAMODB_LOCAL };
  return Object.fromEntries(Object.entries(known).filter(([, value]) => value));
}

/**
 * The same parts in the hands of the caller, who may end, freeze and start each of them; what `localstack/up` starts.
 * `known` is told the cluster before anything runs, for who has to end it half started.
 */
export async function startCluster({ gateways = 2, workers = 2, env, detached, known, Kind = Cluster } = {}) {
  const cluster = new Kind(scratch(), env, detached);
  known?.(cluster);
  try {
    await cluster.startServers();
    // All at once: the first worker to come makes the table, whichever that is.
    await together([
      ...Array.from({ length: workers }, () => cluster.startWorker()),
      ...Array.from({ length: gateways }, () => cluster.startGateway()),
    ]);
  } catch (error) {
    error.message += `\nlogs: ${cluster.dir}`;
    await cluster.stop({ keep: true });
    throw error;
  }
  return cluster;
}

export class Cluster {
  secret = "dev-secret";
  gatewayPrograms = [];
  workerPrograms = [];
  /** All that were started, from the moment at which they run. */
  all = [];
  count = 0;
  /** What its nats-server is started with besides. */
  natsOptions = {};

  constructor(dir, env = {}, detached = false) {
    this.dir = dir;
    this.env = env;
    this.detached = detached;
  }

  /** Starts a program that ends with the cluster. */
  launch = (name, command, args, options) => {
    if (this.stopped) throw new Error("the cluster was stopped");
    const program = new Program(name, command, args, { detached: this.detached, dir: this.dir, ...options });
    this.all.push(program);
    return program;
  };

  async startServers() {
    // Each is known as soon as it runs, so that it is ended also where the other one fails.
    await together([
      startNats(this.dir, { launch: this.launch, ...this.natsOptions }).then((nats) => (this.nats = nats)),
      startDynamoDb(this.dir, { launch: this.launch }).then((dynamodb) => (this.dynamodb = dynamodb)),
    ]);
  }

  /** Public addresses of the gateways that run and have been ready. */
  get gateways() {
    return this.gatewayPrograms.filter((program) => program.served && !program.exited).map((program) => program.url);
  }

  settings() {
    return {
      SIMURGH_LOG_FORMAT: "text",
      ...this.env,
    };
  }

  /** `port` and `internal` where it takes another's place; `folder` has the program, where it is of another build. */
  async startGateway({ env, wait = true, port, internal, folder } = {}) {
    port ??= await freePort();
    internal ??= await freePort();
    const program = this.launch(`gateway-${(this.count += 1)}`, binary("simurgh-gateway", folder), [], {
      env: {
        SIMURGH_NATS_URL: natsUrl(this.nats.port, "gateway"),
        ...this.settings(),
        SIMURGH_LISTEN: `127.0.0.1:${port}`,
        SIMURGH_INTERNAL_LISTEN: `127.0.0.1:${internal}`,
        SIMURGH_JWT_SECRET: this.secret,
        // Every client of a walk comes from one address.
        SIMURGH_RATE_CONNECTS_PER_ADDRESS: "0",
        SIMURGH_DRAIN_WINDOW: "1s",
        ...env,
      },
    });
    Object.assign(program, { url: `http://127.0.0.1:${port}`, internal: `http://127.0.0.1:${internal}`, ports: { port, internal } });
    program.serves = () => answers200(`${program.url}/readyz`);
    this.gatewayPrograms.push(program);
    if (wait) {
      await program.ready(program.serves);
      program.served = true;
    }
    return program;
  }

  async startWorker({ env, wait = true, port, folder } = {}) {
    port ??= await freePort();
    const program = this.launch(`worker-${(this.count += 1)}`, binary("simurgh-worker", folder), [], {
      env: {
        SIMURGH_NATS_URL: natsUrl(this.nats.port, "worker"),
        ...this.settings(),
        SIMURGH_WORKER_LISTEN: `127.0.0.1:${port}`,
        SIMURGH_DYNAMODB_ENDPOINT: this.dynamodb.url,
        SIMURGH_CREATE_TABLE: "true",
        AWS_ACCESS_KEY_ID: "walk",
        AWS_SECRET_ACCESS_KEY: "walk",
        AWS_REGION: "eu-west-1",
        ...env,
      },
    });
    Object.assign(program, { url: `http://127.0.0.1:${port}`, ports: { port } });
    program.serves = () => answers200(`${program.url}/readyz`);
    this.workerPrograms.push(program);
    if (wait) await program.ready(program.serves);
    return program;
  }

  async stop({ keep = false } = {}) {
    this.stopped = true;
    await Promise.all(this.all.map((program) => program.kill()));
    discard(this.dir, keep);
  }
}
