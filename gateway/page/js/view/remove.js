// Asks for whom a message is to be deleted.

import { Dialog } from "./dialog.js";
import { el } from "./dom.js";

export class RemoveDialog extends Dialog {
  constructor(client) {
    super("Delete this message?");
    this.client = client;
    this.text = el("p", { class: "quoted-text" });
    this.hint = el("p", { class: "hint" });
    const choice = (name, text, everyone) => el("button", { class: name, onclick: () => this.#remove(everyone) }, text);
    this.everyone = choice("danger", "Delete for everyone", true);
    this.node.append(this.text, this.hint, el("footer", { class: "choices" }, choice("secondary", "Delete for me", false), this.everyone));
  }

  open(conversation, message) {
    Object.assign(this, { conversation, message });
    const mine = message.sender_id === this.client.user;
    this.text.textContent = message.content;
    this.everyone.hidden = !mine;
    this.hint.textContent = mine ? "" : `Only ${message.sender_id} can delete it for everyone.`;
    this.show();
  }

  async #remove(everyone) {
    this.close();
    try {
      await this.conversation.remove(this.message, { everyone });
    } catch (error) {
      this.client.report(error, "The message was not deleted");
    }
  }
}
