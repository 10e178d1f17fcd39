// Muting a conversation: for some hours, or until further notice.

import { FOREVER } from "../client/mute.js";
import { Dialog } from "./dialog.js";
import { el } from "./dom.js";
import { ending } from "./time.js";

const HOURS = 8;

/** What a bell says: until when it is muted. */
export const muted = (until) => (!until ? "Mute" : until === FOREVER ? "Muted" : `Muted ${ending(until)}`);

export class MuteDialog extends Dialog {
  constructor(client) {
    super("Mute this conversation?");
    this.client = client;
    this.hint = el("p", { class: "hint" });
    this.problem = el("p", { class: "problem", role: "alert" });
    const choice = (text, until) => el("button", { class: "secondary", onclick: () => this.#mute(until()) }, text);
    this.on = el(
      "footer",
      { class: "choices" },
      choice(`For ${HOURS} hours`, () => new Date(Date.now() + HOURS * 60 * 60 * 1000).toISOString()),
      choice("Until I unmute it", () => FOREVER),
    );
    this.off = el("footer", { class: "choices" }, choice("Unmute", () => null));
    this.node.append(this.hint, this.problem, this.on, this.off);
  }

  open(conversation) {
    this.conversation = conversation;
    this.problem.textContent = "";
    this.#draw();
    this.show();
  }

  /** Another device may have muted it, or the time may be over. */
  update() {
    if (this.node.open) this.#draw();
  }

  #draw() {
    const { until } = this.conversation.mute;
    this.heading.textContent = until ? muted(until) : "Mute this conversation?";
    this.hint.textContent = until
      ? "New messages are counted in the list alone."
      : "New messages are then counted in the list alone, also where you are named. Push services are told nothing of them.";
    this.on.hidden = Boolean(until);
    this.off.hidden = !until;
  }

  async #mute(until) {
    this.problem.textContent = "";
    try {
      await this.client.mute(this.conversation, until);
      this.close();
    } catch (error) {
      this.problem.textContent = error.message;
    }
  }
}
