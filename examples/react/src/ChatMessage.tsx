import type { Intent } from "./Chat";
import type { Message } from "./simurgh/protocol";
import { isGone, progress, quoteIn } from "./simurgh/timeline";
import type { useConversation } from "./simurgh/useConversation";

const REACTIONS = ["👍", "❤️", "😂"];
const TICKS = { sent: "✓ Sent", delivered: "✓✓ Delivered", read: "✓✓ Read" };

interface Props {
  chat: ReturnType<typeof useConversation>;
  message: Message;
  intend: (intent: Intent) => void;
  attempt: (work: Promise<void>) => void;
}

/** Another's message may be hidden because one had blocked who wrote it. */
function goneWords({ hidden }: Message, mine: boolean) {
  if (!hidden) return "This message was deleted";
  return mine ? "You deleted this message" : "Hidden from you";
}

export function ChatMessage({ chat, message, intend, attempt }: Props) {
  const { user } = chat.timeline;
  const mine = message.sender_id === user;
  const state = mine ? progress(chat.timeline, message) : undefined;
  const quote = message.reply_to && quoteIn(chat.timeline, message.reply_to);
  const reactions = Object.entries(message.reactions ?? {});
  return (
    <li className={mine ? "mine" : "theirs"} data-seq={message.seq} data-state={state}>
      {!mine && <strong>{message.sender_id}</strong>}
      {quote && (
        <blockquote>
          <cite>{quote.sender_id}</cite> {quote.preview ?? <em>Deleted</em>}
        </blockquote>
      )}
      <p className="text">
        {isGone(message) ? <em>{goneWords(message, mine)}</em> : message.content}
      </p>
      {reactions.length > 0 && (
        <p className="reactions">
          {reactions.map(([reaction, users]) => (
            <button key={reaction} aria-label={`${reaction} by ${users.join(", ")}`} aria-pressed={users.includes(user)}
              onClick={() => attempt(chat.react(message, reaction))}>
              {reaction} {users.length}
            </button>
          ))}
        </p>
      )}
      <footer>
        <time dateTime={message.sent_at}>{new Date(message.sent_at).toLocaleTimeString([], { timeStyle: "short" })}</time>
        {message.edited_at && !isGone(message) && <span className="edited">edited</span>}
        {state && <span className="state">{TICKS[state]}</span>}
        {!isGone(message) && (
          <span className="actions" role="group" aria-label="Actions">
            {REACTIONS.map((reaction) => (
              <button key={reaction} aria-label={`React with ${reaction}`} onClick={() => attempt(chat.react(message, reaction))}>
                {reaction}
              </button>
            ))}
            <button onClick={() => intend({ what: "reply", message })}>Reply</button>
            {mine && <button onClick={() => intend({ what: "edit", message })}>Edit</button>}
            {mine && <button onClick={() => attempt(chat.remove(message, true))}>Delete</button>}
            <button onClick={() => attempt(chat.remove(message, false))}>Delete for me</button>
          </span>
        )}
      </footer>
    </li>
  );
}
