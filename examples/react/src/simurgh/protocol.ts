// What the server says and is told: docs/contract.md, sections 3.2 to 4.

export interface Message {
  id: string;
  conversation_id: string;
  /** 1, 2, 3, … without a gap: the order that everybody sees. */
  seq: number;
  sender_id: string;
  message_type: string;
  content: string;
  metadata: Record<string, unknown>;
  client_random: string | number;
  reply_to_id: string | null;
  sent_at: string;
  /** Who reacted with what; broadcasts of new messages have none. */
  reactions?: Record<string, string[]>;
  /** The message that is answered, as it was when this one was read. */
  reply_to?: Quote;
  edited_at?: string;
  /** Deleted for everyone. */
  deleted_at?: string;
  /** Deleted by oneself for oneself. */
  hidden?: true;
}

export interface Quote {
  id: string;
  seq: number;
  sender_id: string;
  message_type: string;
  /** How it begins; null where it is gone. */
  preview: string | null;
}

export interface Conversation {
  id: string;
  type: "direct" | "group";
  member_ids: string[];
  last_seq: number;
}

/** What happened to older messages since `since`: the latest form of each. */
interface Changes {
  changes: Message[];
  change_cursor: string;
  changes_truncated?: true;
}

export interface Joined extends Changes {
  conversation: Conversation;
  last_seq: number;
  last_read_seq: number;
  messages: Message[];
  truncated: boolean;
}

export interface Page extends Changes {
  messages: Message[];
  has_more: boolean;
}

export interface Receipts {
  seq: number;
  receipts: { user_id: string; delivered: boolean; read: boolean }[];
}

/** The server said no. `reason` is a code of the contract. */
export class Refused extends Error {
  readonly reason: string;
  /** In seconds; undefined where trying again does not help. */
  readonly retryAfter: number | undefined;

  constructor({ reason, message, retry_after }: { reason: string; message?: string; retry_after?: number }) {
    super(message ?? reason);
    this.reason = reason;
    this.retryAfter = ["unavailable", "rate_limit_exceeded"].includes(reason) ? (retry_after ?? 1) : undefined;
  }
}
