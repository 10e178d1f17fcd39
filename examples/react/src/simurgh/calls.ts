// A push and an HTTP call as promises.

import type { Channel } from "phoenix";

import { Refused } from "./protocol";

/** The ok reply. Rejects with `Refused`, or where no reply came: then it may have been done or not. */
export function push<T>(channel: Channel, event: string, payload: object): Promise<T> {
  return new Promise((resolve, reject) => {
    channel
      .push(event, payload)
      .receive("ok", resolve)
      .receive("error", (refusal) => reject(new Refused(refusal)))
      .receive("timeout", () => reject(new Error("no answer")));
  });
}

/** One HTTP call. */
export async function call<T>(token: string, method: string, path: string, body?: object, signal?: AbortSignal): Promise<T> {
  const response = await fetch(`/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
    signal,
  });
  if (response.ok) return response.status === 204 ? (undefined as T) : await response.json();
  const answer = await response.json().catch(() => undefined);
  throw new Refused(answer?.error ?? { reason: response.status >= 500 ? "unavailable" : "unauthorized", message: `HTTP ${response.status}` });
}

/** Reads until there is an answer, for reading may be repeated; gives up only when told to by `signal`, or refused. */
export async function read<T>(token: string, path: string, signal: AbortSignal): Promise<T> {
  for (let pause = 0.5; ; pause = Math.min(2 * pause, 10)) {
    try {
      return await call<T>(token, "GET", path, undefined, signal);
    } catch (error) {
      const passing = !(error instanceof Refused) || error.retryAfter !== undefined;
      if (signal.aborted || !passing) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause * 1000));
    }
  }
}
