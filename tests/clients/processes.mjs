// Starts the programs under test and what they need, each on free ports, each ended by its own process id.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { until } from "./wait.mjs";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The path of one of the three programs, of this build or of another one's `folder`; throws the command that builds it. */
export function binary(name, folder = process.env.SIMURGH_TEST_BIN ?? path.join(ROOT, "target/ci")) {
  const file = path.join(folder, name);
  if (!existsSync(file)) throw new Error(`${file} is not there: cargo build --profile ci --workspace --bins`);
  return file;
}

/** The path of a pinned tool: `variable` where `tests/run` has set it, else fetched here. */
function tool(name, variable) {
  if (!process.env[variable]) {
    fetched ??= execFileSync("python3", [path.join(ROOT, "tests/tools/fetch.py")], { encoding: "utf8" }).split("\n");
    process.env[variable] = fetched.find((line) => line.startsWith(`${name}\t`)).split("\t")[1];
  }
  return process.env[variable];
}
let fetched;

// Below those that a kernel gives out by itself, so that nobody has taken one before its program listens on it.
let nextPort = 20_000 + (process.pid % 300) * 40;

/** A TCP port of 127.0.0.1 that nobody listens on, and that this process was not given before. */
export async function freePort() {
  for (;;) {
    const port = nextPort;
    nextPort = port < 32_000 ? port + 1 : 20_000;
    const server = createServer().listen(port, "127.0.0.1");
    try {
      await once(server, "listening");
    } catch (error) {
      if (error.code !== "EADDRINUSE") throw error;
      continue;
    }
    server.close();
    await once(server, "close");
    return port;
  }
}

/** True when `url` answers 200; a refused connection is just "not yet". */
export async function answers200(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** One process, which can be started again. Its output goes to `dir/NAME.out` and `dir/NAME.err`. */
export class Program {
  #start;

  /** One that is `detached` does not see the Ctrl-C of the terminal that its parent runs in. */
  constructor(name, command, args, { dir, env = {}, cwd = dir, detached = false }) {
    this.name = name;
    this.files = { out: path.join(dir, `${name}.out`), err: path.join(dir, `${name}.err`) };
    // Nothing of the developer's own environment may decide how the programs behave, but for their log level.
    const { PATH, HOME, TMPDIR, SIMURGH_LOG } = process.env;
    const own = Object.fromEntries(Object.entries({ PATH, HOME, TMPDIR, SIMURGH_LOG }).filter(([, value]) => value));
    this.#start = (stdio) => spawn(command, args, { cwd, env: { ...own, ...env }, stdio, detached });
    this.spawn();
  }

  /** Starts it; once more where it has ended, with what it was started with before. */
  spawn() {
    const out = openSync(this.files.out, "a");
    const err = openSync(this.files.err, "a");
    this.child = this.#start(["ignore", out, err]);
    closeSync(out);
    closeSync(err);
    this.exited = undefined;
    /** Resolves to `{code, signal}`; a program that cannot be started has `code` 127. */
    this.exit = new Promise((resolve) => {
      this.child.on("exit", (code, signal) => resolve((this.exited = { code, signal })));
      this.child.on("error", (error) => resolve((this.exited = { code: 127, signal: null, error })));
    });
    return this;
  }

  get pid() {
    return this.child.pid;
  }

  get stdout() {
    return readFileSync(this.files.out, "utf8");
  }

  get stderr() {
    return readFileSync(this.files.err, "utf8");
  }

  /**
   * Waits until `condition` holds; fails at once, with the program's last words, when it ends instead. One that is not
   * ready in time is ended, for nobody knows of it yet who would.
   */
  async ready(condition, timeout = 30_000) {
    try {
      await until(async () => {
        if (this.exited) throw new Error(`${this.name} ended with ${JSON.stringify(this.exited)}`);
        return condition();
      }, { timeout, what: `${this.name} to be ready` });
    } catch (error) {
      error.message += `\n${this.stdout.slice(-2000)}\n${this.stderr.slice(-2000)}`;
      await this.kill();
      throw error;
    }
    return this;
  }

  signal(name) {
    if (!this.exited) this.child.kill(name);
  }

  /** Asks it to end, and ends it where it has not after `grace` ms. */
  async stop(grace) {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), grace);
    const ended = await this.exit;
    clearTimeout(timer);
    return ended;
  }

  /** Ends it at once. The set-ups keep nothing, so teardown need not be graceful. */
  async kill() {
    this.signal("SIGKILL");
    return this.exit;
  }

  /** Waits for it to end by itself, `{code, signal}`. */
  async ended(timeout = 20_000) {
    await until(() => this.exited, { timeout, what: `${this.name} to end` });
    return this.exited;
  }
}

/** Starts a program that nobody else keeps a list of. */
const launchAlone = (...program) => new Program(...program);

/** The URL of a nats-server on `port` for a `gateway` or a `worker`. */
export function natsUrl(port, role) {
  return `nats://${role}:${role}-password@127.0.0.1:${port}`;
}

/**
 * A real broker with JetStream, on which gateways and workers have the rights that infra/nats/accounts.conf gives them.
 * `port` is given when a test starts it after its clients; `more` are lines of its configuration. `domain` names its
 * JetStream for leaf nodes; one that is a leaf `of` such a domain keeps nothing itself, and asks there.
 */
export async function startNats(dir, { name = "nats-server", port, more = [], domain, of, launch = launchAlone } = {}) {
  const server = tool("nats-server", "SIMURGH_TEST_NATS_SERVER");
  port ??= await freePort();
  const monitor = await freePort();
  const config = path.join(dir, `${name}.conf`);
  const accounts = readFileSync(path.join(ROOT, "infra/nats/accounts.conf"), "utf8");
  writeFileSync(config, [
    `listen: "127.0.0.1:${port}"`,
    `http: "127.0.0.1:${monitor}"`,
    `ping_interval: "10s"`,
    of ? `default_js_domain: { SIMURGH: ${of} }` : `jetstream { store_dir: "${path.join(dir, name)}"${domain ? `, domain: ${domain}` : ""} }`,
    ...more,
    of ? accounts.replace("jetstream: enabled", "jetstream: disabled").replaceAll(/\$JS\.API\.|\$KV\./g, (name) => `$JS.${of}.API.${name === "$KV." ? name : ""}`) : accounts,
  ].join("\n"));
  const env = { SIMURGH_NATS_GATEWAY_PASSWORD: "gateway-password", SIMURGH_NATS_WORKER_PASSWORD: "worker-password", SIMURGH_NATS_PUSH_PASSWORD: "push-password" };
  const program = launch(name, server, ["-c", config], { dir, env });
  const serves = () => answers200(`http://127.0.0.1:${monitor}/healthz?js-server-only=true`);
  await program.ready(serves);
  return Object.assign(program, { port, serves });
}

/** AWS's own emulator, in memory. */
export async function startDynamoDb(dir, { launch = launchAlone } = {}) {
  const folder = tool("dynamodb-local", "SIMURGH_TEST_DYNAMODB_LOCAL");
  const port = await freePort();
  const program = launch("dynamodb-local", "java", [
    "-Xmx512m", "-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar",
    "-inMemory", "-disableTelemetry", "-port", String(port),
  ], { dir, cwd: folder });
  const url = `http://127.0.0.1:${port}`;
  await program.ready(async () => {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
      await response.arrayBuffer();
      // It refuses a request that names no operation, and that is an answer.
      return response.status === 400;
    } catch {
      return false;
    }
  });
  return Object.assign(program, { url, port });
}
