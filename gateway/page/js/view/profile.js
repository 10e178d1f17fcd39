// Oneself, at the foot of the list: name, status, connection.

import { avatar } from "./avatar.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";

const STATUSES = { online: "Online", away: "Away", busy: "Busy", offline: "Invisible" };

export const CONNECTION = {
  connecting: "Connecting…", connected: "Connected", reconnecting: "Reconnecting…", offline: "Offline", revoked: "Signed out",
};

export class Profile {
  constructor(client, { leave }) {
    this.client = client;
    this.face = el("span", {}, avatar(client.user, { status: client.status }));
    this.status = el(
      "select",
      { class: "status", "aria-label": "Your status", onchange: () => this.#choose() },
      Object.entries(STATUSES).map(([value, text]) => el("option", { value }, text)),
    );
    this.connection = el("p", { class: "connection", role: "status" });
    this.node = el(
      "footer",
      { class: "profile" },
      this.face,
      el("div", { class: "who" }, el("strong", {}, client.user), this.status),
      this.connection,
      el("button", { class: "round", "aria-label": "Leave and be somebody else", title: "Leave", onclick: leave }, icon("leave")),
    );
  }

  update() {
    const { state, status, user } = this.client;
    if (this.status.value !== status && document.activeElement !== this.status) this.status.value = status;
    if (this.shown !== status) this.face.replaceChildren(avatar(user, { status }));
    this.shown = status;
    this.connection.dataset.state = state;
    if (this.connection.textContent !== CONNECTION[state]) this.connection.textContent = CONNECTION[state];
  }

  async #choose() {
    try {
      await this.client.setStatus(this.status.value);
    } catch (error) {
      this.client.report(error, "The status is unchanged");
    }
    this.status.value = this.client.status;
  }
}
