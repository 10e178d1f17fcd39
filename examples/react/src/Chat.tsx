import { type FormEvent, useEffect, useRef, useState } from "react";

import { ChatMessage } from "./ChatMessage";
import type { Message } from "./simurgh/protocol";
import { useConversation } from "./simurgh/useConversation";
import type { Session } from "./simurgh/useSimurgh";

/** What one is about to do with a message. */
export type Intent = { what: "reply" | "edit"; message: Message };

export function Chat({ session, id }: { session: Session; id: string }) {
  const chat = useConversation(session, id);
  const { timeline, messages } = chat;
  const [intent, setIntent] = useState<Intent>();
  const [problem, setProblem] = useState("");
  const end = useRef<HTMLDivElement>(null);
  const last = messages.at(-1)?.id;
  useEffect(() => {
    end.current?.scrollIntoView({ block: "nearest" });
  }, [last, timeline.drafts.length]);

  function attempt(work: Promise<void>) {
    work.then(() => setProblem(""), (error: Error) => setProblem(error.message));
  }

  function submit(content: string) {
    if (intent?.what === "edit") attempt(chat.edit(intent.message, content));
    else chat.send(content, intent?.message);
    setIntent(undefined);
  }

  if (chat.ended) return <p role="alert">You are not a member of this conversation.</p>;
  const others = timeline.members.filter((user) => user !== session.user);
  return (
    <section aria-label="Conversation">
      <header>
        <h2>{others.join(", ")}</h2>
        <p role="status">{chat.connected ? "Connected" : "Connecting…"}</p>
      </header>
      <div className="scroller" role="log" aria-label="Messages" tabIndex={0}>
        {chat.hasOlder && (
          <button onClick={() => attempt(chat.loadOlder())} disabled={chat.loading}>
            Earlier messages
          </button>
        )}
        <ol>
          {messages.map((message) => (
            <ChatMessage key={message.id} chat={chat} message={message} intend={setIntent} attempt={attempt} />
          ))}
          {timeline.drafts.map((draft) => (
            <li key={draft.client_random} className="mine" data-state={draft.refused ? "refused" : "sending"}>
              <p className="text">{draft.content}</p>
              {draft.refused ? (
                <footer>
                  {draft.refused} <button onClick={() => chat.retry(draft)}>Try again</button>
                  <button onClick={() => chat.discard(draft)}>Discard</button>
                </footer>
              ) : (
                <footer>Sending…</footer>
              )}
            </li>
          ))}
        </ol>
        <div ref={end} />
      </div>
      <p role="alert">{problem}</p>
      <Composer key={intent?.what === "edit" ? intent.message.id : ""} intent={intent} submit={submit} cancel={() => setIntent(undefined)} />
    </section>
  );
}

interface ComposerProps {
  intent: Intent | undefined;
  submit: (content: string) => void;
  cancel: () => void;
}

function Composer({ intent, submit, cancel }: ComposerProps) {
  const [text, setText] = useState(intent?.what === "edit" ? intent.message.content : "");
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), [intent]);
  function send(event: FormEvent) {
    event.preventDefault();
    if (!text.trim()) return;
    submit(text.trim());
    setText("");
  }
  return (
    <form className="composer" onSubmit={send}>
      {intent && (
        <p>
          {intent.what === "edit" ? "Editing" : `Replying to ${intent.message.sender_id}:`} <q>{intent.message.content}</q>{" "}
          <button type="button" onClick={cancel}>
            Cancel
          </button>
        </p>
      )}
      <div className="row">
        <input ref={input} aria-label="Message" autoComplete="off" value={text} onChange={(event) => setText(event.target.value)} />
        <button>{intent?.what === "edit" ? "Save" : "Send"}</button>
      </div>
    </form>
  );
}
