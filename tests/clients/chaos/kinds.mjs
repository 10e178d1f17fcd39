// Every kind of fault: whom it may strike, and how it begins. Each answers how it ends.

import { STORE_FAULTS } from "../network/store.mjs";
import { isBroadcast } from "../network/nats.mjs";

/** Dies without a word and is started again. */
const kill = (cluster, program) => async () => {
  await program.kill();
  return () => cluster.restart(program);
};

/** Is told to stop, does, and is started again. */
const terminate = (cluster, program) => async () => {
  program.signal("SIGTERM");
  await program.ended(30_000);
  return () => cluster.restart(program);
};

/** Gets no time, and does not know it. */
const freeze = (cluster, program) => async () => {
  cluster.freeze(program);
  return async () => cluster.thaw(program);
};

const wire = (which, act) => (_cluster, program, chance) => async () => {
  act(program[which], chance);
  return async () => program[which].heal();
};

const LINKS = {
  cut: (link) => link.cut(),
  frozen: (link) => link.hold(),
  "one-way-up": (link) => link.hold("up"),
  "one-way-down": (link) => link.hold("down"),
  slow: (link, chance) => link.delay(chance.between(50, 400)),
};

const gateways = (cluster) => cluster.gatewayPrograms;
const workers = (cluster) => cluster.workerPrograms;

/** By name: `{targets(cluster), begin(cluster, target, chance)() -> end()}`; `part` is what is busy meanwhile. */
export const KINDS = new Map();

for (const [name, targets] of [["gateway", gateways], ["worker", workers], ["nats", (cluster) => [cluster.nats]]]) {
  KINDS.set(`${name} killed`, { targets, begin: kill });
  KINDS.set(`${name} restarted`, { targets, begin: terminate });
  KINDS.set(`${name} frozen`, { targets, begin: freeze });
}
KINDS.set("store frozen", { targets: (cluster) => [cluster.dynamodb], begin: freeze });

for (const [link, act] of Object.entries(LINKS)) {
  KINDS.set(`gateway-nats ${link}`, { targets: gateways, begin: wire("nats", act) });
  KINDS.set(`worker-nats ${link}`, { targets: workers, begin: wire("nats", act) });
  KINDS.set(`worker-store ${link}`, { targets: workers, begin: wire("store", act) });
}

const losing = (link, chance) => link.lose((subject) => isBroadcast(subject) && chance.happens(0.5));
KINDS.set("worker-nats lossy", { targets: workers, begin: wire("nats", losing) });
KINDS.set("gateway-nats lossy", { targets: gateways, begin: wire("nats", losing) });

for (const fault of STORE_FAULTS) {
  KINDS.set(`store ${fault}`, {
    targets: (cluster) => [cluster.store],
    begin: (_cluster, store, chance) => async () => {
      const share = chance.between(0.1, 0.7);
      store.inject(fault, () => chance.happens(share));
      return async () => store.heal();
    },
  });
}

/** Faults after which a gateway's entries of presence outlive it: they go with its lease. */
export const LEAVES_PRESENCE = new Set(["gateway killed", "gateway frozen", "gateway-nats cut", "gateway-nats frozen", "gateway-nats one-way-up", "gateway-nats one-way-down"]);
