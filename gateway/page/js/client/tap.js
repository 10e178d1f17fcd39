// Listens in on the socket: every frame, out and in, and the connection's own fate.

const KEPT = 500;

export class Tap extends EventTarget {
  /** `{at, kind: "out", "in" or "note", frame?, text?, answers?}`, oldest first, the last 500. */
  entries = [];
  /** When set, the socket is cut as soon as the next message has left: its reply is lost. */
  cutAfterSend = false;
  /** Which push each ref was, so that a reply can be shown with what it answers. */
  #pushes = new Map();

  /** What to give phoenix.js as `transport`. */
  transport() {
    const tap = this;
    return class TappedSocket extends WebSocket {
      constructor(url, protocols) {
        super(url, protocols);
        tap.#pushes.clear();
        tap.#note("opening a socket");
        this.addEventListener("open", () => tap.#note("socket open"));
        this.addEventListener("close", ({ code, reason }) => tap.#note(`socket closed: ${code}${reason ? ` ${reason}` : ""}`));
        this.addEventListener("message", ({ data }) => tap.#frame("in", data));
      }

      send(data) {
        super.send(data);
        tap.#frame("out", data, this);
      }
    };
  }

  clear() {
    this.entries = [];
    this.dispatchEvent(new Event("clear"));
  }

  #frame(kind, data, socket) {
    const [join_ref, ref, topic, event, payload] = JSON.parse(data);
    if (kind === "out") this.#pushes.set(ref, event);
    const answers = event === "phx_reply" ? this.#pushes.get(ref) : undefined;
    if (answers) this.#pushes.delete(ref);
    this.#add({ kind, frame: { join_ref, ref, topic, event, payload }, answers });
    if (socket && event === "send_message" && this.cutAfterSend) {
      this.cutAfterSend = false;
      this.#note("cut right after sending");
      socket.close();
    }
  }

  #note(text) {
    this.#add({ kind: "note", text });
  }

  #add(entry) {
    this.entries.push({ at: new Date(), ...entry });
    if (this.entries.length > KEPT) this.entries.shift();
    this.dispatchEvent(new CustomEvent("entry", { detail: this.entries.at(-1) }));
  }
}
