// The page: who it is in this window, then the list, the open conversation and the frames beside it.
//
// What talks to the server is in `client/` and knows nothing of the page; start reading at client/conversation.js.

import { Client } from "./client/client.js";
import { isUserId } from "./client/ids.js";
import { Minted, Pasted } from "./client/token.js";
import { el, soon } from "./view/dom.js";
import { emblem } from "./view/emblem.js";
import { List } from "./view/list.js";
import { MuteDialog } from "./view/mute.js";
import { Members } from "./view/people.js";
import { Profile } from "./view/profile.js";
import { ReceiptsDialog } from "./view/receipts.js";
import { RemoveDialog } from "./view/remove.js";
import { Start } from "./view/start.js";
import { Thread } from "./view/thread.js";
import { toast } from "./view/toast.js";
import { NEWCOMERS, welcome } from "./view/welcome.js";
import { Wire } from "./view/wire.js";

const root = document.querySelector("#root");
const WIDE = matchMedia("(min-width: 1180px)");
/** A finger: the keyboard on the screen comes when it is asked for. */
const TOUCH = matchMedia("(pointer: coarse)");

/** What this tab remembers, and no other: the user stands in the address, a pasted token does not. */
const remembered = {
  get token() {
    return sessionStorage.getItem("token");
  },
  set token(text) {
    if (text) sessionStorage.setItem("token", text);
    else sessionStorage.removeItem("token");
  },
  open: (user) => sessionStorage.getItem(`open:${user}`),
  setOpen: (user, id) => sessionStorage.setItem(`open:${user}`, id),
  setClosed: (user) => sessionStorage.removeItem(`open:${user}`),
};

class App {
  #thread;

  constructor(client, demo) {
    this.client = client;
    const inviting = Boolean(demo.signing);
    this.update = soon(() => this.#update());
    this.start = new Start(client, { started: (conversation) => this.show(conversation), inviting });
    this.members = new Members(client);
    this.receipts = new ReceiptsDialog(client);
    this.remove = new RemoveDialog(client);
    this.mute = new MuteDialog(client);
    this.list = new List(client, {
      select: (conversation) => this.show(conversation),
      start: () => this.start.open(),
      greet: (user) => this.#greet(user),
      inviting,
    });
    this.profile = new Profile(client, { leave });
    this.wire = new Wire(client, { twice: () => this.#twice(), close: () => this.toggleWire(false) });
    this.guest = inviting && NEWCOMERS.find((name) => name !== client.user);
    this.main = el("main", { class: "stage" }, this.#nobody());
    this.node = el(
      "div",
      { class: "app" },
      el("div", { class: "side" }, el("header", { class: "brand" }, el("img", { src: "/page/icon.svg", alt: "", width: "34", height: "34" }), el("h1", {}, "Simurgh")), this.list.node, this.profile.node),
      this.main,
      this.wire.node,
      this.start.node,
      this.members.node,
      this.receipts.node,
      this.remove.node,
      this.mute.node,
    );
    this.toggleWire(WIDE.matches);
    this.#listen();
  }

  #listen() {
    const { client } = this;
    client.addEventListener("change", this.update);
    client.people.addEventListener("change", this.update);
    client.addEventListener("problem", ({ detail }) => toast(detail, "problem"));
    client.addEventListener("duplicate", ({ detail }) => toast(`The server had it already: message #${detail.seq}, stored once.`));
    client.addEventListener("removed", ({ detail }) => {
      toast(`You are no longer in ${detail.title}.`);
      if (this.#thread?.conversation === detail) this.hide();
    });
    for (const event of ["focus", "visibilitychange"]) {
      addEventListener(event, () => this.#thread?.seen(), true);
    }
  }

  /** Opens a conversation. */
  show(conversation) {
    if (this.#thread?.conversation !== conversation) {
      this.#thread?.close();
      this.client.open(conversation);
      this.#thread = new Thread(this.client, conversation, {
        back: () => this.hide(),
        mute: () => this.mute.open(conversation),
        block: (user, present) => this.#block(user, present),
        people: () => this.members.open(conversation),
        wire: () => this.toggleWire(),
        remove: (message) => this.remove.open(conversation, message),
        receipts: (message) => this.receipts.open(message),
        inviting: Boolean(this.guest),
      });
      this.main.replaceChildren(this.#thread.node);
      remembered.setOpen(this.client.user, conversation.id);
    }
    this.node.dataset.pane = "thread";
    this.#update();
    if (!TOUCH.matches) this.#thread.compose.input.focus();
  }

  /** Back to the list alone. */
  hide() {
    const button = this.list.node.querySelector("[aria-current]");
    this.node.dataset.pane = "list";
    this.#thread?.close();
    this.#thread = undefined;
    remembered.setClosed(this.client.user);
    this.main.replaceChildren(this.#nobody());
    this.#update();
    button?.focus();
  }

  toggleWire(shown = this.wire.node.hidden) {
    this.wire.toggle(shown);
  }

  #update() {
    const { client } = this;
    const wanted = !this.#thread && !this.restored && client.loaded && client.conversations.get(remembered.open(client.user));
    if (client.loaded) this.restored = true;
    if (wanted) return this.show(wanted);
    this.node.dataset.state = client.state;
    this.list.update(this.#thread?.conversation);
    this.profile.update();
    this.wire.update();
    this.members.update();
    this.mute.update();
    this.#thread?.update();
    const unread = client.list.filter(({ mute }) => !mute.until).reduce((sum, one) => sum + one.unread, 0);
    document.title = `${unread > 0 ? `(${unread}) ` : ""}${client.user} · Simurgh`;
  }

  async #greet(user) {
    try {
      this.show(await this.client.create([user]));
    } catch (error) {
      toast(error.message, "problem");
    }
  }

  async #block(user, present) {
    try {
      await this.client.setBlock(user, present);
    } catch (error) {
      toast(`${user} is ${present ? "not" : "still"} blocked: ${error.message}`, "problem");
    }
  }

  #twice() {
    if (!this.#thread) return toast("Open a conversation first.");
    const { compose } = this.#thread;
    if (compose.intent?.what === "edit") compose.cancel();
    this.#thread.send(compose.take() || "Sent twice, stored once.", { copies: 2, reply_to: compose.answered() });
  }

  #nobody() {
    const { guest } = this;
    return el(
      "div",
      { class: "nobody" },
      emblem(),
      el("h2", {}, "Pick a conversation, or start one"),
      el("p", {}, guest
        ? "Open this page in a second window, be somebody else there, and write to each other."
        : "Everything that you write is stored before it counts as sent."),
      guest && el("a", { class: "primary", href: `/#${guest}`, target: "_blank", rel: "noopener" }, `Open a window as ${guest}`),
    );
  }
}

function enter(token, demo) {
  if (!token.renewable) remembered.token = token.text;
  history.replaceState(null, "", `#${encodeURIComponent(token.user)}`);
  const client = new Client(token);
  const app = new App(client, demo);
  root.replaceChildren(app.node);
  client.start();
  app.update();
}

function leave() {
  remembered.token = undefined;
  location.replace("/");
}

/** The token of whoever it was in this tab before, or who stands in the address. */
async function returning(demo) {
  const user = decodeURIComponent(location.hash.slice(1));
  if (remembered.token) return new Pasted(remembered.token, demo);
  if (isUserId(user) && demo.signing && globalThis.crypto?.subtle) return new Minted(user, demo).renew();
  return undefined;
}

const demo = await (await fetch("/demo.json")).json();
const token = await returning(demo).catch(() => undefined);
addEventListener("hashchange", () => location.reload());
if (token) enter(token, demo);
else welcome(root, demo, (entered) => enter(entered, demo));
