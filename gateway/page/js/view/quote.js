// The message that another one answers.

import { el } from "./dom.js";

/** How a quote, `{seq, sender_id, preview}`, is put in words. */
export function words({ sender_id, preview }, user) {
  return { who: sender_id === user ? "You" : sender_id, what: preview ?? "Deleted message" };
}

/** A button that leads to the quoted message. */
export function quote(quoted, user, jump) {
  const { who, what } = words(quoted, user);
  return el(
    "button",
    { class: `quote${quoted.preview === null ? " gone" : ""}`, "data-quote": "", title: "Go to this message", onclick: jump },
    el("span", { class: "sr" }, "In answer to "),
    el("strong", {}, who),
    el("span", { class: "quoted" }, what),
  );
}
