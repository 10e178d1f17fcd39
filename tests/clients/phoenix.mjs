// phoenix.js, in the version that SIMURGH_WALK_PHOENIX names: `phoenix` (1.8) or `phoenix-1.7`.

const name = process.env.SIMURGH_WALK_PHOENIX ?? "phoenix";

export const { LongPoll, Presence, Socket } = await import(name);

/** `authToken` came with 1.8. */
export const TAKES_AUTH_TOKEN = name === "phoenix";
