// Members who are named in a message: `@id` in its text, told along as `metadata.mentions`.

const NAME = /(?<![A-Za-z0-9_\-.:@|+])@([A-Za-z0-9][A-Za-z0-9_\-.:@|+]{0,63})/g;
const BEGUN = /(?<![A-Za-z0-9_\-.:@|+])@([A-Za-z0-9_\-.:@|+]{0,64})$/;

/** Where `users` are named in a text, in its order: `[{start, end, user}]`. */
export function namesIn(text, users) {
  const found = [];
  for (const { index: start, 1: written } of text.matchAll(NAME)) {
    // What ends a sentence may be part of an id: the longest that is somebody's counts.
    let user = written;
    while (user && !users.includes(user)) user = /[_\-.:@|+]$/.test(user) ? user.slice(0, -1) : "";
    if (user) found.push({ start, end: start + 1 + user.length, user });
  }
  return found;
}

/** The metadata of a message with this text; `known` is what it has besides. */
export function withMentions(text, users, { mentions: _, ...known } = {}) {
  const mentions = [...new Set(namesIn(text, users).map(({ user }) => user))];
  return mentions.length > 0 ? { ...known, mentions } : known;
}

/** Who is named in a message. Metadata is its author's: anything may stand there. */
export function mentionsOf({ metadata }) {
  const mentions = metadata?.mentions;
  return Array.isArray(mentions) ? mentions.filter((user) => typeof user === "string") : [];
}

/** The name that is being written just before `cursor`: `{start, prefix}`, or nothing. */
export function begunAt(text, cursor) {
  const match = BEGUN.exec(text.slice(0, cursor));
  return match ? { start: match.index, prefix: match[1] } : undefined;
}
