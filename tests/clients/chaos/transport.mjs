// A WebSocket that keeps the time of every push and its reply: no push on a live socket may stay without an answer.

import WebSocket from "ws";

/** The reasons of the contract's section 3. */
const REASONS = new Set([
  "unauthorized", "not_a_member", "unmatched topic", "unknown_event", "validation_failed", "message_too_large",
  "rate_limit_exceeded", "not_found", "forbidden", "conflict", "too_many_channels", "unavailable",
]);

/** Every push and join of the clients that share it, with what became of it. */
export class Answers {
  /** `{event, topic, gateway, at, answered, status, reason}`; without `answered` the socket ended first, at `ended`. */
  pushes = [];
  /** `{code, gateway, at}` of every socket that had been open. */
  closes = [];

  /** A transport for phoenix.js; `pick()` answers the gateway `{url}` of each new socket. */
  transport(pick) {
    const answers = this;
    return class extends WebSocket {
      constructor(url, protocols) {
        const gateway = pick().url;
        const address = new URL(url);
        address.host = new URL(gateway).host;
        super(address.href, protocols, { handshakeTimeout: 5000 });
        this.gateway = gateway;
        this.pending = new Map();
        this.on("message", (data) => answers.replied(this, data));
        this.on("open", () => (this.wasOpen = true));
        this.on("close", (code) => answers.ended(this, code));
      }

      send(data, ...rest) {
        answers.sent(this, data);
        return super.send(data, ...rest);
      }
    };
  }

  sent(socket, data) {
    const [, ref, topic, event] = JSON.parse(data);
    // A leave of a channel that was joined anew is ignored, by rule.
    if (event === "phx_leave" || ref === null) return;
    const push = { event, topic, gateway: socket.gateway, at: performance.now() };
    socket.pending.set(ref, push);
    this.pushes.push(push);
  }

  replied(socket, data) {
    const [, ref, , event, payload] = JSON.parse(data);
    const push = event === "phx_reply" ? socket.pending.get(ref) : undefined;
    if (!push) return;
    socket.pending.delete(ref);
    push.answered = performance.now();
    push.status = payload.status;
    if (payload.status !== "ok") push.reason = payload.response.reason;
  }

  ended(socket, code) {
    for (const push of socket.pending.values()) push.ended = performance.now();
    if (socket.wasOpen) this.closes.push({ code, gateway: socket.gateway, at: performance.now() });
  }

  /**
   * Pushes that were not answered as promised, a line each. `frozenFor(gateway, from, to)` is how long a gateway was
   * not let run: nobody answers then. `slackMs` is what this machine may take for itself.
   */
  wrongs(frozenFor, slackMs) {
    const lines = [];
    const now = performance.now();
    for (const push of this.pushes) {
      const until = push.answered ?? push.ended ?? now;
      const took = until - push.at - frozenFor(push.gateway, push.at, until);
      const what = `${push.event} on ${push.topic}`;
      if (took > 8000 + slackMs) {
        lines.push(`${what}: ${push.answered ? `answered (${push.reason ?? "ok"})` : "no answer"} after ${Math.round(took)} ms on a live socket`);
      }
      if (push.status === "error" && !REASONS.has(push.reason)) lines.push(`${what}: refused without a known reason: ${push.reason}`);
    }
    return lines;
  }

  /** The longest time until an answer, in ms, gateways that were frozen left aside. */
  longest(frozenFor) {
    return this.pushes.reduce((longest, { at, answered, gateway }) => (
      answered ? Math.max(longest, answered - at - frozenFor(gateway, at, answered)) : longest), 0);
  }

  /** How many were refused, by reason. */
  refusals() {
    const counts = {};
    for (const { reason } of this.pushes) if (reason) counts[reason] = (counts[reason] ?? 0) + 1;
    return counts;
  }
}
