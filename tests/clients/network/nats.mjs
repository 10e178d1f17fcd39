// A wire to NATS that can lose single messages: what core NATS may do, and what no TCP connection shows.

import { Wire } from "./tcp.mjs";

const LINE_END = Buffer.from("\r\n");
/** Operations with a payload: their lines end in its length, and name the subject first. */
const WITH_PAYLOAD = /^(PUB|HPUB|MSG|HMSG) (\S+) .*?(\d+)$/i;

/** Cuts a stream of NATS' protocol into whole operations, and leaves out those that `loses(subject)` says. */
export function withoutLost(loses) {
  let rest = Buffer.alloc(0);
  return (data) => {
    rest = rest.length > 0 ? Buffer.concat([rest, data]) : data;
    const kept = [];
    for (let at = 0; ; ) {
      const end = rest.indexOf(LINE_END, at);
      const payload = end < 0 ? undefined : WITH_PAYLOAD.exec(rest.toString("latin1", at, end));
      const next = end + 2 + (payload ? Number(payload[3]) + 2 : 0);
      if (end < 0 || next > rest.length) {
        rest = rest.subarray(at);
        return Buffer.concat(kept);
      }
      if (!payload || !loses(payload[2])) kept.push(rest.subarray(at, next));
      at = next;
    }
  };
}

/** The wire of one process to a nats-server. */
export class NatsWire extends Wire {
  #loses = () => false;
  /** Messages lost so far. */
  lost = 0;

  static to(port) {
    return Wire.to(port, NatsWire);
  }

  filter(direction) {
    return withoutLost((subject) => {
      if (!this.#loses(subject, direction)) return false;
      this.lost += 1;
      return true;
    });
  }

  /** Loses each message for which `which(subject, direction)` is true, until `heal`. */
  lose(which) {
    this.#loses = which;
  }

  heal() {
    this.#loses = () => false;
    super.heal();
  }
}

/** Whether a subject is a conversation's: broadcasts, heads and steps of presence. */
export const isBroadcast = (subject) => /^[^.]+\.conv\./.test(subject);
