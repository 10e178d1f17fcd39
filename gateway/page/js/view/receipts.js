// Who has got a message, and who has read it: member by member, asked of the server when it is opened.

import { avatar } from "./avatar.js";
import { Dialog } from "./dialog.js";
import { el } from "./dom.js";
import { brief, exactly, timeOfDay } from "./time.js";

const ago = (at) => (at ? [" ", el("time", { datetime: at, title: exactly(at) }, brief(at) === timeOfDay(at) ? `at ${timeOfDay(at)}` : brief(at))] : []);

export class ReceiptsDialog extends Dialog {
  constructor(client) {
    super("Who has read it");
    this.client = client;
    this.rows = el("ul", { class: "members", role: "list" });
    this.problem = el("p", { class: "problem", role: "alert" });
    this.node.append(this.rows, this.problem);
  }

  async open(message) {
    this.problem.textContent = "";
    this.rows.replaceChildren(el("li", {}, "Loading…"));
    this.show();
    try {
      const { receipts } = await this.client.api.receipts(message);
      this.rows.replaceChildren(...receipts.map(row));
    } catch (error) {
      this.rows.replaceChildren();
      this.problem.textContent = error.message;
    }
  }
}

function row({ user_id, delivered, delivered_at, read, read_at }) {
  const said = read ? ["Read", ...ago(read_at)] : delivered ? ["Delivered", ...ago(delivered_at)] : ["Not delivered yet"];
  return el("li", { "data-user": user_id }, avatar(user_id), el("span", { class: "member-name" }, user_id, el("small", {}, said)));
}
