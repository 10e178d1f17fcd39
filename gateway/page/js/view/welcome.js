// Who is it in this window?

import { Api } from "../client/api.js";
import { NO_USER_ID, isUserId } from "../client/ids.js";
import { Minted, Pasted } from "../client/token.js";
import { avatar } from "./avatar.js";
import { el } from "./dom.js";
import { emblem } from "./emblem.js";

export const NEWCOMERS = ["alice", "bob", "carol"];

const WORDS = {
  minted: "Choose a name for this window, then open a second one and be somebody else.",
  pasted: "This gateway knows its users by their tokens. Paste one to chat as whoever it names.",
  insecure: "Names can be chosen on localhost or over https only. Here, paste a token.",
};

/** Shows the first screen; `enter(token)` is called once, with a token that the server takes. */
export function welcome(root, demo, enter) {
  const problem = el("p", { class: "problem", role: "alert", id: "welcome-problem" });
  const use = async (make) => {
    problem.textContent = "";
    try {
      const token = await make().renew();
      // A browser does not say why a socket is refused; a call does.
      await new Api(token).contacts();
      enter(token);
    } catch (error) {
      problem.textContent = error.reason === "unauthorized" ? "The gateway does not take this token." : error.message;
    }
  };
  // Signing needs WebCrypto, which browsers have in secure contexts only.
  const minting = demo.signing && globalThis.crypto?.subtle;
  const form = minting ? names(demo, use) : pasting(demo, use);
  const words = minting ? WORDS.minted : demo.signing ? WORDS.insecure : WORDS.pasted;
  root.replaceChildren(
    el(
      "main",
      { class: "welcome" },
      el(
        "header",
        { class: "welcome-art" },
        emblem(),
        el("h1", {}, "Simurgh"),
        el("p", { class: "motto" }, "Thirty birds set out to find the Simurgh, and found that they were it."),
      ),
      el("section", { class: "welcome-card" }, el("h2", {}, "Come in"), el("p", { class: "lead" }, words), form, problem),
    ),
  );
  root.querySelector("input, textarea").focus();
}

function names(demo, use) {
  const input = el("input", {
    id: "name", name: "name", autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: "64",
    placeholder: "dave", "aria-describedby": "welcome-problem",
  });
  const enter = (name) => use(() => {
    if (!isUserId(name)) throw new Error(NO_USER_ID);
    return new Minted(name, demo);
  });
  const tiles = NEWCOMERS.map((name) =>
    el("button", { type: "button", class: "tile", onclick: () => enter(name) }, avatar(name), el("span", {}, name)));
  return el(
    "form",
    { class: "welcome-form", onsubmit: (event) => { event.preventDefault(); enter(input.value.trim()); } },
    el("div", { class: "tiles", role: "group", "aria-label": "Ready-made users" }, tiles),
    el("label", { for: "name" }, "or any other name"),
    el("div", { class: "field-row" }, input, el("button", { class: "primary" }, "Enter")),
  );
}

function pasting(demo, use) {
  const input = el("textarea", { id: "token", name: "token", rows: "4", autocomplete: "off", spellcheck: "false", placeholder: "eyJ…", "aria-describedby": "welcome-problem" });
  return el(
    "form",
    { class: "welcome-form", onsubmit: (event) => { event.preventDefault(); use(() => new Pasted(input.value, demo)); } },
    el("label", { for: "token" }, "Token (JWT)"),
    input,
    el("button", { class: "primary wide" }, "Enter"),
  );
}
