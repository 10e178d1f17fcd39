import type { Channel } from "phoenix";
import { useCallback, useEffect, useMemo, useReducer, useRef, useState, useSyncExternalStore } from "react";

import { push, read } from "./calls";
import { type Joined, type Message, type Page, type Receipts, Refused } from "./protocol";
import { type Action, type Draft, empty, reduce, shown } from "./timeline";
import type { Session } from "./useSimurgh";

const PAGE = 50;
/** After a join: of how many of one's own messages is asked whether they were read meanwhile. */
const LOOKS_BACK = 5;

/**
 * One conversation: joins it while mounted, misses nothing and shows nothing twice, whatever becomes of the connection.
 * Its state is this conversation's: give the component that uses it `key={id}`.
 */
export function useConversation({ user, token, socket, own }: Session, id: string) {
  const saved = `drafts:${user}:${id}`;
  const [timeline, dispatch] = useReducer(reduce, undefined, () => empty(user, JSON.parse(sessionStorage.getItem(saved) ?? "[]")));
  // A new object with each join: what has to be said again after a lost connection depends on it.
  const [joined, setJoined] = useState<{ channel: Channel }>();
  const [ended, setEnded] = useState(false);
  const [loading, setLoading] = useState(false);
  const visible = useVisible();

  // Where this client stands, for whoever asks later than a render.
  const now = useRef(timeline);
  useEffect(() => {
    now.current = timeline;
  });

  // What changes messages is noted while a page of history is under way: the page may be older.
  const meanwhile = useRef<Action[]>(undefined);
  const change = useCallback((action: Action) => {
    meanwhile.current?.push(action);
    dispatch(action);
  }, []);

  const path = `/conversations/${encodeURIComponent(id)}/messages`;
  const loadOlder = useCallback(
    async (before: number, signal: AbortSignal) => {
      if (before <= 1 || meanwhile.current) return;
      meanwhile.current = [];
      setLoading(true);
      try {
        const { messages } = await read<Page>(token, `${path}?before_seq=${before}&limit=${PAGE}`, signal);
        [{ type: "messages", messages } as const, ...meanwhile.current].forEach(dispatch);
      } finally {
        meanwhile.current = undefined;
        setLoading(false);
      }
    },
    [token, path],
  );

  useEffect(() => {
    const gone = new AbortController();
    // A function, so that each rejoin says where this client is by then.
    const channel = socket.channel(`conversation:${id}`, () => ({ last_seq: now.current.last, since: now.current.since }));
    // Up to where this channel has told. It passes over what one never gets (a block), and history holds its place.
    let told = 0;
    channel.on("new_message", (message: Message) => {
      dispatch({ type: "messages", messages: [message] });
      if (message.seq > told + 1) catchUp(told, now.current.since).catch(ignoreAbort(gone.signal));
      told = message.seq;
    });
    channel.on("message_edited", ({ message }) => change({ type: "edited", message }));
    channel.on("message_deleted", ({ message_id, at }) => change({ type: "deleted", id: message_id, at }));
    channel.on("message_hidden", ({ message_id }) => change({ type: "hidden", id: message_id }));
    for (const [event, present] of [["reaction_added", true], ["reaction_removed", false]] as const) {
      channel.on(event, ({ message_id, user_id, reaction }) =>
        change({ type: "reacted", id: message_id, user: user_id, reaction, present }));
    }
    channel.on("read_receipt", ({ user_id, seq }) => dispatch({ type: "read", user: user_id, seq }));
    channel.onError(() => setJoined(undefined));
    channel.onClose(() => setEnded(!gone.signal.aborted));

    /** What comes behind `after`, by HTTP. Should the connection go meanwhile, the next join goes on from there. */
    async function catchUp(after: number, since = "") {
      for (let more = true; more; ) {
        const query = new URLSearchParams({ after_seq: String(after), since, limit: "200" });
        const page = await read<Page>(token, `${path}?${query}`, gone.signal);
        after = page.messages.at(-1)?.seq ?? after;
        since = page.change_cursor;
        more = Boolean(page.has_more || page.changes_truncated);
        dispatch({ type: "caughtUp", messages: page.messages, changes: page.changes, since });
      }
    }

    channel
      .join()
      .receive("ok", (reply: Joined) => {
        const first = now.current.last === undefined;
        const { messages, last_seq, change_cursor } = reply;
        told = last_seq;
        dispatch({ type: "joined", reply });
        setJoined({ channel });
        const more = reply.truncated || reply.changes_truncated;
        Promise.all([
          more && catchUp(messages.at(-1)?.seq ?? last_seq, change_cursor),
          first && loadOlder(last_seq + 1, gone.signal),
        ]).catch(ignoreAbort(gone.signal));
      })
      .receive("error", ({ reason }) => {
        if (reason !== "not_a_member") return;
        setEnded(true);
        channel.leave();
      });
    return () => {
      gone.abort();
      channel.leave();
      setJoined(undefined);
    };
  }, [socket, id, token, path, change, loadOlder]);

  useOutbox(joined, timeline.drafts, dispatch);
  useEffect(() => sessionStorage.setItem(saved, JSON.stringify(timeline.drafts)), [saved, timeline.drafts]);

  const messages = useMemo(() => shown(timeline), [timeline]);
  useReceipts({ user, token, own }, id, { joined, messages, visible, readUpTo: timeline.read[user] ?? 0, dispatch });

  /** Pushes, once the channel is joined; what it does to messages comes by broadcast, as it does to everybody. */
  async function tell(event: string, message: Message, more: object = {}) {
    if (!joined) throw new Error("There is no connection.");
    await push(joined.channel, event, { message_id: message.id, ...more });
  }

  return {
    timeline,
    messages,
    connected: joined !== undefined,
    /** One is no member any more. */
    ended,
    loading,
    hasOlder: (timeline.first ?? 1) > 1,
    loadOlder: () => loadOlder(timeline.first ?? 1, new AbortController().signal),
    /** Never fails: the message waits among the drafts until it is stored or refused. */
    send: (content: string, replyTo?: Message) =>
      dispatch({ type: "written", draft: { client_random: crypto.randomUUID(), content, reply_to_id: replyTo?.id } }),
    retry: ({ refused: _, ...draft }: Draft) => dispatch({ type: "rewritten", draft }),
    discard: (draft: Draft) => dispatch({ type: "discarded", draft }),
    edit: (message: Message, content: string) => tell("edit_message", message, { content }),
    remove: (message: Message, forEveryone: boolean) => tell("delete_message", message, { for_everyone: forEveryone }),
    react: (message: Message, reaction: string) =>
      tell(message.reactions?.[reaction]?.includes(user) ? "remove_reaction" : "add_reaction", message, { reaction }),
  };
}

const ignoreAbort = (signal: AbortSignal) => (error: unknown) => {
  if (!signal.aborted) throw error;
};

/**
 * Pushes the oldest draft, and again with each join and each silence, until the server has said what became of it: always
 * under one `client_random`, so it is stored once. One at a time, so that messages are stored in the order of writing.
 */
function useOutbox(joined: { channel: Channel } | undefined, drafts: Draft[], dispatch: (action: Action) => void) {
  const draft = drafts.find(({ refused }) => !refused);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (!joined || !draft) return;
    const { client_random, content, reply_to_id } = draft;
    let current = true;
    let pause: ReturnType<typeof setTimeout>;
    const again = (seconds: number) => (pause = setTimeout(() => setAttempt((one) => one + 1), seconds * 1000));
    push<{ message: Message }>(joined.channel, "send_message", { message_type: "text", content, client_random, reply_to_id }).then(
      // An answer counts, also to an attempt that was given up.
      ({ message }) => dispatch({ type: "sent", draft, message }),
      (error: Error) => {
        if (!current) return;
        if (!(error instanceof Refused)) again(0);
        else if (error.retryAfter !== undefined) again(error.retryAfter);
        else dispatch({ type: "rewritten", draft: { ...draft, refused: error.message } });
      },
    );
    return () => {
      current = false;
      clearTimeout(pause);
    };
  }, [joined, draft, attempt, dispatch]);
}

interface Reading {
  joined: { channel: Channel } | undefined;
  messages: Message[];
  visible: boolean;
  readUpTo: number;
  dispatch: (action: Action) => void;
}

/** Says what has arrived and what was read here, and hears it from the others. */
function useReceipts({ user, token, own }: Pick<Session, "user" | "token" | "own">, id: string, reading: Reading) {
  const { joined, messages, visible, readUpTo, dispatch } = reading;
  const newest = messages.findLast(({ sender_id }) => sender_id !== user);
  const unread = newest && newest.seq > readUpTo ? newest.id : undefined;
  useEffect(() => {
    if (!joined || !unread) return;
    // Where it got lost, the next join says it again.
    push<{ last_read_seq?: number }>(joined.channel, visible ? "mark_as_read" : "mark_as_delivered", { message_id: unread }).then(
      ({ last_read_seq }) => last_read_seq !== undefined && dispatch({ type: "read", user, seq: last_read_seq }),
      () => {},
    );
  }, [joined, unread, visible, user, dispatch]);

  useEffect(() => {
    const heard = own.on("delivery_receipt", ({ conversation_id, user_id, seq }) => {
      if (conversation_id === id) dispatch({ type: "delivered", user: user_id, seq });
    });
    return () => own.off("delivery_receipt", heard);
  }, [own, id, dispatch]);

  // A join does not tell what was read meanwhile: the newest of one's own messages are asked about, until one was.
  const mine = useRef<Message[]>([]);
  useEffect(() => {
    mine.current = messages.filter(({ sender_id }) => sender_id === user);
  });
  const begun = messages.length > 0;
  useEffect(() => {
    if (!joined || !begun) return;
    const gone = new AbortController();
    (async () => {
      for (const message of mine.current.slice(-LOOKS_BACK).reverse()) {
        const path = `/conversations/${encodeURIComponent(id)}/messages/${message.id}/receipts`;
        const { seq, receipts } = await read<Receipts>(token, path, gone.signal);
        for (const one of receipts) {
          if (one.delivered) dispatch({ type: "delivered", user: one.user_id, seq });
          if (one.read) dispatch({ type: "read", user: one.user_id, seq });
        }
        if (receipts.every((one) => one.read)) return;
      }
    })().catch(ignoreAbort(gone.signal));
    return () => gone.abort();
  }, [joined, begun, id, token, dispatch]);
}

/** Whether the tab can be seen. */
function useVisible() {
  return useSyncExternalStore(
    (changed) => {
      document.addEventListener("visibilitychange", changed);
      return () => document.removeEventListener("visibilitychange", changed);
    },
    () => document.visibilityState === "visible",
  );
}
