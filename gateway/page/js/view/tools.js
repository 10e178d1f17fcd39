// What can be done with a message: the row of buttons above it, for the pointer and for the arrow keys.

import { arrows, el } from "./dom.js";
import { icon } from "./icons.js";

const REACTIONS = ["👍", "❤️", "😂", "🎉", "👀", "🔥"];

/** `actions` are `{react(reaction), reply(), edit(), receipts(), remove()}`; what is not there is not offered. */
export function tools({ react, ...actions }) {
  const reactions = (react ? REACTIONS : []).map((reaction) => el(
    "button", { "data-tool": reaction, "aria-label": `React with ${reaction}`, onclick: () => react(reaction) }, reaction,
  ));
  const named = [["reply", "Reply"], ["edit", "Edit"], ["receipts", "Who has read it"], ["remove", "Delete"]];
  const others = named.filter(([name]) => actions[name]).map(([name, label]) => el(
    "button", { "data-tool": name, "aria-label": label, title: label, onclick: actions[name] }, icon(name),
  ));
  const row = el("div", { class: "tools", role: "toolbar", "aria-label": "On this message" }, reactions, others);
  arrows(row, () => [...row.children], { next: "ArrowRight", previous: "ArrowLeft" });
  return row;
}
