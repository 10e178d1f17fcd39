// A word in passing, read out by screen readers too.

import { el } from "./dom.js";

const SHOWN_MS = 6_000;

/** `kind` is `info` or `problem`. */
export function toast(text, kind = "info") {
  const region = document.querySelector("#toasts");
  const note = el("p", { class: `toast ${kind}` }, text);
  region.append(note);
  while (region.children.length > 3) region.firstChild.remove();
  setTimeout(() => note.remove(), SHOWN_MS);
}
