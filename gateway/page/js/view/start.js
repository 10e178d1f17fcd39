// The dialog that starts a conversation: one name makes it direct, several make a group.

import { NO_USER_ID, isUserId } from "../client/ids.js";
import { avatar } from "./avatar.js";
import { Dialog } from "./dialog.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";
import { NEWCOMERS } from "./welcome.js";

/** `started(conversation)` is called with what was made. */
export class Start extends Dialog {
  #chosen = [];

  constructor(client, { started, inviting }) {
    super("New conversation");
    Object.assign(this, { client, started, inviting });
    this.input = el("input", {
      id: "people", autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: "64",
      placeholder: "A name, then Enter", "aria-describedby": "start-problem",
    });
    this.input.addEventListener("keydown", (event) => this.#typed(event));
    this.input.addEventListener("input", () => this.#update());
    this.chips = el("ul", { class: "chips", role: "list", "aria-label": "Chosen" });
    this.known = el("div", { class: "known", role: "group", "aria-label": "People you know" });
    this.title = el("input", { id: "group-title", autocomplete: "off", maxlength: "120", placeholder: "Nest builders" });
    this.group = el("div", { class: "field" }, el("label", { for: "group-title" }, "Name of the group"), this.title);
    this.problem = el("p", { class: "problem", id: "start-problem", role: "alert" });
    this.submit = el("button", { class: "primary" });
    this.node.append(el(
      "form",
      { class: "start", onsubmit: (event) => this.#submit(event) },
      el("div", { class: "field" }, el("label", { for: "people" }, "With whom?"), this.chips, this.input),
      this.known,
      this.group,
      this.problem,
      el("footer", {}, this.submit),
    ));
  }

  open() {
    this.#chosen = [];
    this.input.value = "";
    this.title.value = "";
    this.problem.textContent = "";
    this.#update();
    this.show();
    this.input.focus();
  }

  #typed(event) {
    const complete = event.key === "," || event.key === " " || (event.key === "Enter" && this.input.value.trim());
    if (complete) {
      event.preventDefault();
      this.#take();
    } else if (event.key === "Backspace" && !this.input.value) {
      this.#chosen.pop();
      this.#update();
    }
  }

  /** Makes a name of what stands in the field; false where it is none. */
  #take() {
    const name = this.input.value.trim();
    if (!name) return true;
    if (!isUserId(name)) {
      this.problem.textContent = NO_USER_ID;
      return false;
    }
    this.input.value = "";
    this.#choose(name);
    return true;
  }

  #choose(name) {
    this.problem.textContent = name === this.client.user ? "You are in it anyway." : "";
    if (name !== this.client.user && !this.#chosen.includes(name)) this.#chosen.push(name);
    this.#update();
  }

  #update() {
    this.chips.replaceChildren(...this.#chosen.map((name) => el("li", {}, this.#chip(name))));
    const known = new Set([...(this.inviting ? NEWCOMERS : []), ...this.client.people.contacts]);
    for (const conversation of this.client.list.slice(0, 30)) conversation.members.forEach((one) => known.add(one));
    const offered = [...known].filter((name) => name !== this.client.user && !this.#chosen.includes(name)).slice(0, 8);
    this.known.replaceChildren(...offered.map((name) => {
      const status = this.client.people.status(name);
      return el("button", { type: "button", class: "pick", onclick: () => this.#picked(name) }, avatar(name, { small: true, status }), name);
    }));
    this.group.hidden = this.#chosen.length < 2;
    this.submit.textContent = this.#chosen.length > 1 ? "Start the group" : "Start";
    this.submit.disabled = this.#chosen.length === 0 && !this.input.value.trim();
  }

  #picked(name) {
    this.#choose(name);
    this.input.focus();
  }

  #chip(name) {
    const drop = () => {
      this.#chosen = this.#chosen.filter((one) => one !== name);
      this.#update();
      this.input.focus();
    };
    return el("button", { type: "button", class: "chip", "aria-label": `Without ${name}`, onclick: drop }, avatar(name, { small: true }), name, icon("close"));
  }

  async #submit(event) {
    event.preventDefault();
    if (!this.#take() || this.#chosen.length === 0) return;
    this.submit.disabled = true;
    try {
      const title = this.#chosen.length > 1 ? this.title.value.trim() || undefined : undefined;
      const conversation = await this.client.create(this.#chosen, title);
      this.close();
      this.started(conversation);
    } catch (error) {
      this.problem.textContent = error.message;
    }
    this.submit.disabled = false;
  }
}
