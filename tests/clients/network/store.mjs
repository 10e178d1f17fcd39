// An HTTP proxy before DynamoDB that answers what AWS answers on a bad day, or drops the answer to what was done.

import { once } from "node:events";
import { Agent, createServer, request } from "node:http";

const WRITES = /^(Put|Update|Delete|Transact|BatchWrite)/;
const TRANSACTION = "TransactWriteItems";

/** A fault: which operations it concerns, and what it answers; `lost-reply` answers nothing. */
const KINDS = {
  throttled: {
    answer: () => refusal(400, "ProvisionedThroughputExceededException", "The level of configured provisioned throughput for the table was exceeded."),
  },
  conflict: {
    concerns: WRITES,
    answer: (operation) => operation === TRANSACTION
      ? { ...refusal(400, "TransactionCanceledException", "Transaction cancelled, please refer cancellation reasons for specific reasons [TransactionConflict]"),
          more: { CancellationReasons: [{ Code: "TransactionConflict", Message: "Transaction is ongoing for the item" }] } }
      : refusal(400, "TransactionConflictException", "Transaction is ongoing for the item"),
  },
  "error-500": { answer: () => refusal(500, "InternalServerError", "The request could not be processed because of an internal error.") },
  "lost-reply": { concerns: WRITES },
};

function refusal(status, code, message) {
  const space = code === "InternalServerError" ? "com.amazon.coral.service" : "com.amazonaws.dynamodb.v20120810";
  return { status, type: `${space}#${code}`, message };
}

/** The names of the faults that can be injected. */
export const STORE_FAULTS = Object.keys(KINDS);

export class StoreProxy {
  #agent = new Agent({ keepAlive: true, maxSockets: 256 });
  #fault;
  /** How many requests met each fault. */
  injected = Object.fromEntries(STORE_FAULTS.map((kind) => [kind, 0]));

  /** Listens on a free port and leads to `port` of 127.0.0.1. */
  static async to(port) {
    const proxy = new StoreProxy();
    proxy.target = port;
    proxy.server = createServer((incoming, outgoing) => proxy.#serve(incoming, outgoing)).listen(0, "127.0.0.1");
    proxy.server.keepAliveTimeout = 60_000;
    await once(proxy.server, "listening");
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  /** From now on until `heal`, a request meets the fault where `when(operation, body)` is true. */
  inject(kind, when = () => true) {
    this.#fault = { kind, when };
  }

  heal() {
    this.#fault = undefined;
  }

  /** The kind of fault that this request meets. */
  #meets(operation, body) {
    const fault = this.#fault;
    if (!fault || KINDS[fault.kind].concerns?.test(operation) === false || !fault.when(operation, body)) return undefined;
    this.injected[fault.kind] += 1;
    return fault.kind;
  }

  async #serve(incoming, outgoing) {
    const parts = [];
    try {
      for await (const part of incoming) parts.push(part);
    } catch {
      return; // Whoever asked is gone.
    }
    const body = Buffer.concat(parts);
    const operation = incoming.headers["x-amz-target"]?.split(".")[1] ?? "";
    const kind = this.#meets(operation, body);
    const answer = kind && KINDS[kind].answer?.(operation);
    if (answer) {
      const { status, type, message, more } = answer;
      outgoing.writeHead(status, { "content-type": "application/x-amz-json-1.0" });
      return outgoing.end(JSON.stringify({ __type: type, message, Message: message, ...more }));
    }
    this.#forward(incoming, body, outgoing, kind === "lost-reply");
  }

  #forward(incoming, body, outgoing, loseReply) {
    const lost = () => outgoing.destroy();
    const { method, url, headers } = incoming;
    const onward = request({ host: "127.0.0.1", port: this.target, method, path: url, headers, agent: this.#agent }, (reply) => {
      reply.on("error", lost);
      // Only once the answer is whole is the write surely done.
      if (loseReply) return reply.resume().on("end", lost);
      outgoing.writeHead(reply.statusCode, reply.headers);
      reply.pipe(outgoing);
    });
    onward.on("error", lost);
    onward.end(body);
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
    this.#agent.destroy();
  }
}
