// The members of a conversation, who of them is here, and whom one shows oneself to.

import { NO_USER_ID, isUserId } from "../client/ids.js";
import { avatar } from "./avatar.js";
import { Dialog } from "./dialog.js";
import { el } from "./dom.js";

/** What a dot says of a member: their status where they show it, else whether they have the conversation open. */
export function presence(client, conversation, user) {
  if (user === client.user) return client.status;
  const status = client.people.status(user);
  return status === "offline" && conversation.here.includes(user) ? "online" : status;
}

function hintOn({ type, blocked }) {
  if (type !== "direct") {
    return "A contact sees when you are online. They show themselves to you by adding you. Whom you block is not told, "
      + "and what they write to you alone does not come.";
  }
  return blocked
    ? "They are not told that you blocked them. What they write here does not come, nor will it, and neither of you sees the other's status."
    : "You see each other's status, because you share this conversation.";
}

export class Members extends Dialog {
  constructor(client) {
    super("People");
    this.client = client;
    this.hint = el("p", { class: "hint" });
    this.rows = el("ul", { class: "members", role: "list" });
    this.input = el("input", { id: "member", autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: "64", placeholder: "A name" });
    this.problem = el("p", { class: "problem", role: "alert" });
    this.adding = el(
      "form",
      { class: "field", onsubmit: (event) => this.#add(event) },
      el("label", { for: "member" }, "Add somebody"),
      el("div", { class: "field-row" }, this.input, el("button", { class: "primary" }, "Add")),
    );
    this.node.append(this.hint, this.rows, this.adding, this.problem);
  }

  open(conversation) {
    this.conversation = conversation;
    this.problem.textContent = "";
    this.input.value = "";
    this.direct = conversation.type === "direct";
    this.adding.hidden = this.direct;
    this.update();
    this.show();
  }

  update() {
    if (!this.conversation) return;
    const { client, conversation } = this;
    const hint = hintOn(conversation);
    if (this.hint.textContent !== hint) this.hint.textContent = hint;
    const look = conversation.members.map((user) => ({
      user, status: presence(client, conversation, user), contact: client.people.contacts.has(user), blocked: client.blocks.has(user),
    }));
    const shown = JSON.stringify([conversation.id, look]);
    if (shown === this.shown) return;
    this.shown = shown;
    const { user, action } = this.rows.contains(document.activeElement) ? document.activeElement.dataset : {};
    this.rows.replaceChildren(...look.map((member) => this.#row(member)));
    if (user) this.rows.querySelector(`[data-user="${CSS.escape(user)}"][data-action="${action}"]`)?.focus();
  }

  #row({ user, status, contact, blocked }) {
    const { client } = this;
    const other = user !== client.user;
    const contacting = {
      class: "toggle", "data-user": user, "data-action": "contact", "aria-pressed": String(contact),
      onclick: () => this.#set(client.setContact(user, !contact)),
    };
    const blocking = {
      class: "toggle block", "data-user": user, "data-action": "block", "aria-label": `${blocked ? "Unblock" : "Block"} ${user}`,
      onclick: () => this.#set(client.setBlock(user, !blocked)),
    };
    return el(
      "li",
      {},
      avatar(user, { status }),
      el("span", { class: "member-name" }, other ? user : `${user} (you)`, el("small", {}, blocked ? "blocked" : status)),
      other && el(
        "span",
        { class: "member-actions" },
        !this.direct && el("button", contacting, contact ? "Contact" : "Add contact"),
        el("button", blocking, blocked ? "Unblock" : "Block"),
      ),
    );
  }

  async #set(change) {
    this.problem.textContent = "";
    try {
      await change;
    } catch (error) {
      this.problem.textContent = error.message;
    }
    this.update();
  }

  async #add(event) {
    event.preventDefault();
    const name = this.input.value.trim();
    this.problem.textContent = isUserId(name) ? "" : NO_USER_ID;
    if (this.problem.textContent) return;
    try {
      await this.client.addMember(this.conversation, name);
      this.input.value = "";
    } catch (error) {
      this.problem.textContent = error.message;
    }
    this.update();
  }
}
