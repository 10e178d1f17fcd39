// Every frame in and out, and the buttons that break things.

import { arrows, el, soon } from "./dom.js";
import { icon } from "./icons.js";

const ARROWS = { out: "↑", in: "↓", note: "·" };
const WORDS = { out: "sent", in: "received", note: "connection" };
const SHOWN = 500;

const clock = (at) => `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}`;

export class Wire {
  /** `twice()` sends a message two times under one `client_random`; `close()` puts the panel away. */
  constructor(client, { twice, close }) {
    this.client = client;
    const button = (name, text, title, onclick) => el("button", { class: "tool", title, onclick }, icon(name), el("span", {}, text));
    this.offline = button("broken", "Go offline", "Disconnects until you say so", () =>
      client.state === "offline" ? client.goOnline() : client.goOffline());
    this.cutAfter = button("scissors", "Cut after send", "The next message leaves, and its reply is lost", () => {
      client.tap.cutAfterSend = !client.tap.cutAfterSend;
      this.update();
    });
    this.rows = el("ol", { class: "frames", "aria-label": "Frames", tabindex: "0" });
    this.count = el("span", { class: "count" });
    this.node = el(
      "aside",
      { class: "wire", "aria-label": "Frames on the wire" },
      el(
        "header",
        { class: "wire-head" },
        el("div", {}, el("h2", {}, "On the wire"), this.count),
        el("button", { class: "quiet", onclick: () => client.tap.clear() }, "Clear"),
        el("button", { class: "round", "aria-label": "Close the frames", onclick: close }, icon("close")),
      ),
      el(
        "div",
        { class: "tools-row", role: "group", "aria-label": "Break things" },
        button("scissors", "Cut the socket", "Loses the connection; the client comes back by itself", () => client.cut()),
        this.cutAfter,
        this.offline,
        button("twice", "Send twice", "One message, pushed two times with the same client_random", twice),
      ),
      this.rows,
    );
    // One stop for Tab, however many frames there are; the arrows go on from there.
    arrows(this.rows, () => [this.rows, ...this.rows.querySelectorAll("summary")]);
    this.waiting = [];
    const add = soon(() => this.#add());
    client.tap.addEventListener("entry", ({ detail }) => {
      this.waiting.push(detail);
      if (this.waiting.length > SHOWN) this.waiting.shift();
      add();
    });
    client.tap.addEventListener("clear", () => {
      this.waiting = [];
      this.rows.replaceChildren();
      this.update();
    });
  }

  /** Shows or hides it; what is newest is in sight. */
  toggle(shown) {
    this.node.hidden = !shown;
    this.rows.scrollTop = this.rows.scrollHeight;
    this.update();
  }

  update() {
    const offline = this.client.state === "offline";
    this.offline.lastChild.textContent = offline ? "Go online" : "Go offline";
    this.offline.setAttribute("aria-pressed", String(offline));
    this.cutAfter.setAttribute("aria-pressed", String(this.client.tap.cutAfterSend));
    const frames = this.client.tap.entries.length;
    this.count.textContent = frames === 1 ? "1 frame" : `${frames} frames`;
  }

  #add() {
    const { rows } = this;
    const atBottom = rows.scrollHeight - rows.scrollTop - rows.clientHeight < 40;
    rows.append(...this.waiting.map(row));
    this.waiting = [];
    while (rows.children.length > SHOWN) rows.firstChild.remove();
    if (atBottom) rows.scrollTop = rows.scrollHeight;
    this.update();
  }
}

function row(entry) {
  const { kind, at, frame, text } = entry;
  const mark = el("span", { class: "mark" }, el("span", { "aria-hidden": "true" }, ARROWS[kind]), el("span", { class: "sr" }, `${WORDS[kind]} `));
  const time = el("time", { class: "at", datetime: at.toISOString() }, clock(at));
  if (!frame) return el("li", { class: "frame note" }, el("p", {}, mark, el("span", { class: "event" }, text), time));
  const details = el(
    "details",
    {},
    el(
      "summary",
      { tabindex: "-1" },
      mark,
      el("span", { class: "event" }, named(entry)),
      badges(entry).map(([word, tone]) => el("span", { class: `tag ${tone}` }, word)),
      time,
      el("span", { class: "topic" }, frame.topic),
    ),
  );
  // Nobody looks into most of them.
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(el("pre", { tabindex: "0" }, pretty(frame)));
  });
  return el("li", { class: `frame ${kind}`, "data-event": frame.event }, details);
}

function named({ frame, answers }) {
  return answers ? `${answers} → ${frame.payload.status}` : frame.event;
}

/** What is worth seeing without opening the frame. */
function badges({ frame, answers }) {
  const found = [];
  const { status, response = {} } = frame.payload ?? {};
  if (frame.event === "phx_join" && frame.payload.last_seq !== undefined) found.push([`resume from ${frame.payload.last_seq}`, "good"]);
  if (!answers) return found;
  if (status === "error") found.push([response.reason ?? "error", "bad"]);
  if (response.duplicate) found.push(["duplicate", "warm"]);
  if (response.messages?.length) found.push([`${response.messages.length} missed`, "good"]);
  if (response.truncated) found.push(["truncated", "warm"]);
  if (answers === "send_message" && response.seq) found.push([`#${response.seq}`, "plain"]);
  return found;
}

function pretty({ join_ref, ref, topic, event, payload }) {
  return JSON.stringify([join_ref, ref, topic, event, payload], null, 2);
}
