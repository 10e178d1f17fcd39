// What a run measured, for people to read.

const ms = (value) => (value === undefined ? "–" : `${Math.round(value)} ms`);

/** The value below which this share of a list lies. */
export function quantile(values, share) {
  const sorted = [...values].sort((x, y) => x - y);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** `p50 … p99 … longest …` of a list of ms. */
export function spread(values) {
  return `p50 ${ms(quantile(values, 0.5))}, p99 ${ms(quantile(values, 0.99))}, longest ${ms(quantile(values, 1))}`;
}

/**
 * After each fault, how long until every conversation had its first acknowledgement: by kind, a list of ms. Other
 * faults may go on meanwhile.
 */
export function healing(struck, sends) {
  const acks = new Map();
  for (const { conversation, acked } of sends) acks.set(conversation, [...(acks.get(conversation) ?? []), acked]);
  for (const times of acks.values()) times.sort((x, y) => x - y);
  const byKind = new Map();
  for (const { kind, ended } of struck) {
    const firsts = [...acks.values()].map((times) => times.find((at) => at >= ended));
    if (firsts.includes(undefined)) continue;
    byKind.set(kind, [...(byKind.get(kind) ?? []), Math.max(...firsts) - ended]);
  }
  return byKind;
}

/** Lines of `name  count  median  longest`. */
export function table(byKind, counts) {
  const kinds = Object.keys(counts).sort();
  const wide = Math.max(...kinds.map((kind) => kind.length));
  return kinds.map((kind) => {
    const times = byKind.get(kind) ?? [];
    return `  ${kind.padEnd(wide)}  ${String(counts[kind]).padStart(4)}  ${ms(quantile(times, 0.5)).padStart(9)}  ${ms(quantile(times, 1)).padStart(9)}`;
  });
}
