//! Sending a message: what may be sent, by whom, and the answer.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Reason, Refusal, Timestamp, UserId,
    envelope::{Principal, Success},
    limits,
    record::{ClientRandom, Message, Quoted},
};
use uuid::Uuid;

use super::{claim::Claimed, slot::StoredMessage};
use crate::{
    Limits, Request, Worker,
    access::Roster,
    store::{Consistency, keys},
    validate,
};

/// The type of a service's announcements.
const SYSTEM: &str = "system";
/// Hex digits of a hash that tell two contents of one sender apart: 128 bits.
const HASH_DIGITS: usize = 32;

#[derive(Deserialize)]
struct Payload {
    message_type: String,
    content: String,
    metadata: Option<Raw>,
    client_random: ClientRandom,
    reply_to_id: Option<String>,
    /// Read where a service asks; to users it is an unknown field.
    sender_id: Option<Raw>,
}

/// A message that somebody wants to send.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) sender: UserId,
    pub(crate) message_type: String,
    pub(crate) content: String,
    pub(crate) metadata: Raw,
    pub(crate) client_random: ClientRandom,
    pub(crate) reply_to: Option<MessageId>,
    /// What that message was when it was looked up.
    pub(crate) quote: Option<Quoted>,
    /// Why it may not be stored; what was stored under its name before is still answered.
    pub(crate) refused: Option<Refusal>,
    /// Who never gets it, since that user blocks who sends it.
    pub(crate) silent: Option<UserId>,
    /// Of type and content: what a repeat is judged by.
    pub(crate) hash: String,
}

/// The reply to `send_message`.
#[derive(Serialize)]
struct Reply<'a> {
    message_id: MessageId,
    seq: u64,
    sent_at: Timestamp,
    message: &'a Message,
    duplicate: bool,
}

impl Draft {
    /// Reads what was pushed or posted. Content is opaque and may be empty: what is said may lie in the metadata alone.
    ///
    /// # Errors
    /// `validation_failed`, `message_too_large`.
    fn read(payload: &Raw, principal: &Principal, limits: &Limits) -> Result<Self, Refusal> {
        let payload: Payload = validate::parse(payload)?;
        let sender = match (principal, payload.sender_id) {
            (Principal::User(user), _) => user.clone(),
            (Principal::Service, Some(sender)) => {
                sender.parse().map_err(|_| Refusal::invalid("sender_id", "must be the id of a user"))?
            }
            (Principal::Service, None) => {
                return Err(Refusal::invalid("sender_id", "is required of a service"));
            }
        };
        check_type(&payload.message_type)?;
        validate::within("content", &payload.content, limits.content_bytes)?;
        let reply_to =
            payload.reply_to_id.as_deref().map(|text| MessageId::parse(text).ok_or_else(no_such_message));
        Ok(Self {
            hash: hash(&payload.message_type, &payload.content),
            sender,
            message_type: payload.message_type,
            content: payload.content,
            metadata: validate::metadata(payload.metadata.as_ref(), limits.metadata_bytes)?,
            client_random: payload.client_random,
            reply_to: reply_to.transpose()?,
            quote: None,
            refused: None,
            silent: None,
        })
    }

    /// The message at its place.
    pub(crate) fn message(&self, command: Uuid, seq: u64, sent_at: Timestamp, random: u64) -> StoredMessage {
        StoredMessage {
            id: MessageId::new(sent_at, seq, random),
            sender: self.sender.clone(),
            message_type: self.message_type.clone(),
            content: self.content.clone(),
            metadata: self.metadata.clone(),
            client_random: self.client_random.clone(),
            reply_to: self.reply_to,
            sent_at,
            command,
            edited_at: None,
            deleted: None,
            silent: self.silent.clone(),
        }
    }

    /// About how many bytes it adds to a slot.
    pub(crate) fn bytes(&self) -> usize {
        const REST: usize = 512;
        // As JSON, in which a control character takes six bytes.
        Raw::of(&self.content).get().len() + self.metadata.get().len() + REST
    }
}

/// `text`, `media`, `system`, or another word (contract section 3.3).
fn check_type(word: &str) -> Result<(), Refusal> {
    let letters = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if letters && (1..=limits::MESSAGE_TYPE_CHARS).contains(&word.len()) {
        Ok(())
    } else {
        Err(Refusal::invalid("message_type", "must be a word of at most 32 characters a-z 0-9 _"))
    }
}

fn no_such_message() -> Refusal {
    Refusal::invalid(
        "reply_to_id",
        "must be a message of this conversation that is there and that its sender sees",
    )
}

fn hash(message_type: &str, content: &str) -> String {
    // No type holds a colon.
    let digest = Sha256::new().chain_update(message_type).chain_update(":").chain_update(content).finalize();
    let mut text = format!("{digest:x}");
    text.truncate(HASH_DIGITS);
    text
}

/// Whether a draft may be sent into a conversation of this roster. Users are members and send as themselves; services
/// send as any member, and announcements (`system`) as anybody, so that a bot need not be a member.
pub(crate) fn may_send(principal: &Principal, draft: &Draft, roster: Option<&Roster>) -> Result<(), Refusal> {
    let system = draft.message_type == SYSTEM;
    match (principal, roster) {
        (Principal::Service, None) => Err(Refusal::new(Reason::NotFound, "there is no such conversation")),
        (Principal::Service, Some(roster)) if system || roster.members.contains(&draft.sender) => Ok(()),
        (Principal::Service, Some(_)) => Err(Refusal::invalid("sender_id", "must be a member")),
        (Principal::User(user), Some(roster)) if roster.members.contains(user) => {
            if system {
                Err(Refusal::new(Reason::Forbidden, "only a service may send system messages"))
            } else {
                Ok(())
            }
        }
        (Principal::User(_), _) => Err(Refusal::not_a_member()),
    }
}

/// Who never gets this draft: the other one of a direct conversation, who blocks its sender. Announcements come to all.
pub(crate) fn silent_for(draft: &Draft, roster: &Roster) -> Option<UserId> {
    roster.deaf_to(&draft.sender).filter(|_| draft.message_type != SYSTEM).cloned()
}

/// The answer to a send: 201 where this request stored the message, 200 where an earlier one did (`duplicate`).
pub(crate) fn reply(message: &Message, duplicate: bool) -> Success {
    let Message { id, seq, sent_at, .. } = *message;
    let body = Raw::of(&Reply { message_id: id, seq, sent_at, message, duplicate });
    Success { status: if duplicate { 200 } else { 201 }, body }
}

impl Worker {
    /// `send_message`, and `POST …/messages`.
    pub(crate) async fn send_message(
        &self,
        request: &Request,
        id: &ConversationId,
        payload: &Raw,
    ) -> Result<Success, Refusal> {
        let mut draft = Draft::read(payload, &request.principal, &self.limits)?;
        if let Some(reply_to) = draft.reply_to {
            // Before anything is looked up for them: whether a message exists is the members' business.
            self.member_access(request, id).await?;
            match self.quote(request, id, &draft.sender, reply_to).await? {
                Some(quote) => draft.quote = Some(quote),
                // What it answered may have been deleted since it was stored: then this is a repeat, and safe.
                None if self.is_claimed(request, id, &draft).await? => {
                    draft.refused = Some(no_such_message())
                }
                None => return Err(no_such_message()),
            }
        }
        self.enqueue(request, id, draft).await
    }

    /// The message that is to be answered, as it is now; `None` where there is none that the sender sees.
    async fn quote(
        &self,
        request: &Request,
        id: &ConversationId,
        sender: &UserId,
        reply_to: MessageId,
    ) -> Result<Option<Quoted>, Refusal> {
        let found = self.message(request, id, reply_to).await?;
        let seen = |found: &StoredMessage| found.deleted.is_none() && found.silent.as_ref() != Some(sender);
        let Some(found) = found.filter(seen) else { return Ok(None) };
        let hidden = self.hidden_among(request, id, sender, &[found.seq()].into()).await?;
        Ok(hidden.is_empty().then(|| found.shown(id).quoted()))
    }

    /// Claims a draft's name as [`Self::claim`] does. Who blocks the other one says nothing new to it: then nothing is
    /// written, and what was said before is answered as ever.
    pub(crate) async fn claim_as_member(
        &self,
        request: &Request,
        id: &ConversationId,
        draft: &Draft,
        roster: Option<&Roster>,
        seen: u64,
    ) -> Result<Claimed, Refusal> {
        let blocks = roster.is_some_and(|roster| roster.blocked_by.contains(&draft.sender));
        if !blocks || draft.message_type == SYSTEM {
            return self.claim(request, id, draft, seen).await;
        }
        if !self.is_claimed(request, id, draft).await? {
            return Err(Refusal::blocked());
        }
        match self.claim(request, id, draft, seen).await? {
            Claimed::Open(_) => Err(Refusal::blocked()),
            stored @ Claimed::Stored(_) => Ok(stored),
        }
    }

    async fn is_claimed(
        &self,
        request: &Request,
        id: &ConversationId,
        draft: &Draft,
    ) -> Result<bool, Refusal> {
        request.in_time(&self.env)?;
        let key = keys::claim(id, &draft.sender, &draft.client_random);
        Ok(self.store.get(&key, Consistency::Strong).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::record::ConversationType;

    use super::*;

    fn user(name: &str) -> Principal {
        Principal::User(UserId::new(name).unwrap())
    }

    fn read(json: &str, principal: &Principal) -> Result<Draft, Refusal> {
        Draft::read(&Raw::from_string(json.to_owned()).unwrap(), principal, &Limits::default())
    }

    fn field(json: &str) -> String {
        let refusal = read(json, &user("alice")).unwrap_err();
        refusal.details["errors"].as_object().unwrap().keys().next().unwrap().clone()
    }

    fn roster() -> Roster {
        Roster {
            version: 1,
            kind: ConversationType::Group,
            changed_at: Timestamp::default(),
            completed_by: None,
            members: [UserId::new("alice").unwrap()].into(),
            blocked_by: [].into(),
        }
    }

    fn draft(kind: &str, principal: &Principal, sender: &str) -> Draft {
        let json =
            format!(r#"{{"message_type":"{kind}","content":"x","client_random":1,"sender_id":"{sender}"}}"#);
        read(&json, principal).unwrap()
    }

    #[test]
    fn a_draft_of_every_type_is_read() {
        for kind in ["text", "media", "a_1", &"x".repeat(32)] {
            let draft = draft(kind, &user("alice"), "bob");
            assert_eq!((draft.message_type.as_str(), draft.sender.as_str()), (kind, "alice"));
            assert_eq!(draft.metadata.get(), "{}");
        }
        assert!(read(r#"{"message_type":"media","content":"","client_random":"r"}"#, &user("a")).is_ok());
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_its_field() {
        assert_eq!(field(r#"{"content":"x","client_random":1}"#), "message_type");
        assert_eq!(field(r#"{"message_type":"A","content":"x","client_random":1}"#), "message_type");
        assert_eq!(field(r#"{"message_type":"","content":"x","client_random":1}"#), "message_type");
        assert_eq!(field(r#"{"message_type":"text","content":5,"client_random":1}"#), "content");
        assert_eq!(field(r#"{"message_type":"text","content":"x"}"#), "client_random");
        assert_eq!(
            field(r#"{"message_type":"text","content":"x","client_random":1,"metadata":[]}"#),
            "metadata"
        );
        assert_eq!(
            field(r#"{"message_type":"text","content":"x","client_random":1,"reply_to_id":"x"}"#),
            "reply_to_id"
        );
        assert_eq!(
            field(r#"{"message_type":"text","content":"x","client_random":1,"reply_to_id":1}"#),
            "reply_to_id"
        );
    }

    #[test]
    fn content_beyond_the_limit_is_too_large() {
        let json = |bytes| {
            format!(r#"{{"message_type":"text","content":"{}","client_random":1}}"#, "x".repeat(bytes))
        };
        assert!(read(&json(limits::CONTENT_BYTES), &user("alice")).is_ok());
        let refused = read(&json(limits::CONTENT_BYTES + 1), &user("alice")).unwrap_err();
        assert_eq!(refused.reason, Reason::MessageTooLarge);
        assert_eq!(refused.details["max_bytes"], limits::CONTENT_BYTES);
    }

    #[test]
    fn members_send_and_others_do_not() {
        let refuse = |principal: &Principal, draft: &Draft, roster: Option<&Roster>| {
            may_send(principal, draft, roster).unwrap_err().reason
        };
        let (alice, bob, roster) = (user("alice"), user("bob"), roster());
        assert_eq!(may_send(&alice, &draft("text", &alice, "alice"), Some(&roster)), Ok(()));
        assert_eq!(refuse(&bob, &draft("text", &bob, "alice"), Some(&roster)), Reason::NotAMember);
        assert_eq!(refuse(&bob, &draft("text", &bob, "alice"), None), Reason::NotAMember);
        assert_eq!(refuse(&alice, &draft("system", &alice, "alice"), Some(&roster)), Reason::Forbidden);
    }

    #[test]
    fn services_send_for_members_and_announce_as_anybody() {
        let (service, roster) = (Principal::Service, roster());
        assert_eq!(may_send(&service, &draft("text", &service, "alice"), Some(&roster)), Ok(()));
        assert_eq!(may_send(&service, &draft("system", &service, "bot"), Some(&roster)), Ok(()));
        let stranger = may_send(&service, &draft("text", &service, "bob"), Some(&roster)).unwrap_err();
        assert_eq!(stranger.reason, Reason::ValidationFailed);
        assert_eq!(
            may_send(&service, &draft("text", &service, "a"), None).unwrap_err().reason,
            Reason::NotFound
        );
        let nobody =
            read(r#"{"message_type":"text","content":"x","client_random":1}"#, &service).unwrap_err();
        assert!(nobody.details["errors"]["sender_id"].is_array());
    }

    #[test]
    fn type_and_content_are_what_a_repeat_is_judged_by() {
        assert_eq!(hash("text", "a"), hash("text", "a"));
        assert_ne!(hash("text", "a"), hash("text", "b"));
        assert_ne!(hash("text", "a"), hash("media", "a"));
    }
}
