// A person as a coloured initial, with a dot for their status where it is known.

import { el } from "./dom.js";

const HUES = [174, 28, 262, 340, 205, 88, 12, 300, 48, 228];

/** The same hue for the same name, everywhere. */
export function hue(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) >>> 0;
  return HUES[sum % HUES.length];
}

/** `status` may be nothing: no dot then. */
export function avatar(name, { status, small = false } = {}) {
  const disc = el("span", { class: "avatar-disc" }, [...name][0]?.toUpperCase() ?? "?");
  // Through the object model: a strict policy has no style attributes.
  disc.style.setProperty("--hue", hue(name));
  return el(
    "span",
    { class: `avatar${small ? " small" : ""}`, "aria-hidden": "true" },
    disc,
    status && el("span", { class: "dot", "data-status": status }),
  );
}

/** A group: two of its members, one before the other. */
export function avatars(names) {
  return el("span", { class: "avatar pair", "aria-hidden": "true" }, names.slice(0, 2).map((name) => avatar(name, { small: true })));
}
