// Times as people say them.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dateWithYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

const DAY = 24 * 60 * 60 * 1000;
const midnight = (time) => new Date(time).setHours(0, 0, 0, 0);
const daysAgo = (time) => Math.round((midnight(Date.now()) - midnight(time)) / DAY);

/** 14:05 */
export const timeOfDay = (time) => clock.format(new Date(time));

/** For a tooltip. */
export const exactly = (time) => exact.format(new Date(time));

/** Today, Yesterday, Monday, 3 May 2026 */
export function day(time) {
  const ago = daysAgo(time);
  if (ago === 0) return "Today";
  if (ago === 1) return "Yesterday";
  return ago < 7 ? weekday.format(new Date(time)) : dateWithYear.format(new Date(time));
}

/** As short as a list needs it. */
export function brief(time) {
  const ago = daysAgo(time);
  if (ago === 0) return timeOfDay(time);
  if (ago === 1) return "Yesterday";
  return date.format(new Date(time));
}

/** Until when something lasts, in a sentence. */
export function ending(time) {
  const ago = daysAgo(time);
  if (ago === 0) return `until ${timeOfDay(time)}`;
  return ago === -1 ? `until tomorrow at ${timeOfDay(time)}` : `until ${dateWithYear.format(new Date(time))}`;
}

/** When somebody was last seen, in a sentence. */
export function seen(time) {
  if (!time) return "offline";
  return daysAgo(time) === 0 ? `last seen at ${timeOfDay(time)}` : `last seen ${brief(time)}`;
}
