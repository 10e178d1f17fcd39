//! What happens to messages that are there: reactions, edits and deletions.
//!
//! Each is one step with its place in the conversation's log of changes ([`lane`]). A message that is deleted for
//! everyone stays as what is left of it, and its reactions are closed in the same step; so whatever comes after it, late
//! or at once, meets a version that it did not read, and then the deletion. The log of changes holds nothing of what
//! messages say: an edit is told with the message as it is when the log is read.

use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Reason, Refusal, Timestamp, UserId,
    envelope::{Principal, Success},
    record::{Message, Quoted},
};

use crate::{
    Request, Worker,
    reactions::{React, message_id, no_such_message},
    validate,
};

mod batch;
mod lane;
#[cfg(test)]
mod tests;

pub(crate) use lane::ChangeLanes;

/// What somebody asks for, who may enter the conversation.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    /// Of which message.
    pub(crate) message: MessageId,
    /// The members' version that it may be asked at.
    pub(crate) members_version: u64,
    /// Who is not told, since that user blocks who asks, or never got the message.
    pub(crate) silent: Option<UserId>,
    pub(crate) ask: Ask,
}

/// What can be asked for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Adding a reaction, or taking it back.
    React { user: UserId, reaction: String, react: React },
    /// Other content, and other metadata where some is given.
    Edit { by: UserId, content: String, metadata: Option<Raw>, quote: Option<Quoted> },
    /// Deleting it for everyone; by a service where nobody is named.
    Delete { by: Option<UserId> },
    /// Deleting it for this user alone.
    Hide { user: UserId },
}

/// The payload of `message_edited`.
#[derive(Serialize)]
pub(crate) struct Edited<'a> {
    pub(crate) message: &'a Message,
}

/// The payload of `message_deleted` and `message_hidden`.
#[derive(Serialize)]
pub(crate) struct Gone<'a> {
    pub(crate) conversation_id: &'a ConversationId,
    pub(crate) message_id: MessageId,
    pub(crate) seq: u64,
    pub(crate) user_id: Option<&'a UserId>,
    pub(crate) at: Timestamp,
}

#[derive(Deserialize)]
struct Edit {
    content: String,
    metadata: Option<Raw>,
    /// Read where a service asks; to users it is an unknown field.
    sender_id: Option<Raw>,
}

#[derive(Deserialize)]
struct Named {
    message_id: String,
}

#[derive(Deserialize)]
struct Delete {
    message_id: String,
    for_everyone: bool,
}

impl Worker {
    /// The push `edit_message`.
    pub(crate) async fn push_edit(
        &self,
        request: &Request,
        id: &ConversationId,
        payload: &Raw,
    ) -> Result<Success, Refusal> {
        let Named { message_id: text } = validate::parse(payload)?;
        self.edit_message(request, id, message_id(&text)?, payload).await
    }

    /// `PATCH …/messages/{message_id}`, and the push: `{content, metadata?}`.
    ///
    /// # Errors
    /// `not_found` where there is no such message, or it is deleted; `forbidden` for others than its author and (+
    /// `edit_window`, seconds) for those who come too late; `message_too_large`.
    pub(crate) async fn edit_message(
        &self,
        request: &Request,
        id: &ConversationId,
        message: MessageId,
        body: &Raw,
    ) -> Result<Success, Refusal> {
        let Edit { content, metadata, sender_id } = validate::parse(body)?;
        let by = match (&request.principal, sender_id) {
            (Principal::User(user), _) => user.clone(),
            (Principal::Service, Some(sender)) => {
                sender.parse().map_err(|_| Refusal::invalid("sender_id", "must be the id of a user"))?
            }
            (Principal::Service, None) => {
                return Err(Refusal::invalid("sender_id", "is required of a service"));
            }
        };
        validate::within("content", &content, self.limits.content_bytes)?;
        let metadata = metadata
            .map(|metadata| validate::metadata(Some(&metadata), self.limits.metadata_bytes))
            .transpose()?;
        let roster = self.member_access(request, id).await?;
        let found = self.message(request, id, message).await?.ok_or_else(no_such_message)?;
        if roster.blocked_by.contains(&by) {
            return Err(Refusal::blocked());
        }
        let silent = found.silent.clone().or_else(|| roster.deaf_to(&by).cloned());
        // What it answers does not change.
        let shown = self.with_quotes(request, id, vec![found.shown(id)]).await?.pop();
        let quote = shown.and_then(|shown| shown.reply_to);
        let ask = Ask::Edit { by, content, metadata, quote };
        let asked = Asked { request: request.clone(), message, members_version: roster.version, silent, ask };
        self.enqueue_change(id, asked).await
    }

    /// The push `delete_message`.
    pub(crate) async fn push_delete(
        &self,
        request: &Request,
        id: &ConversationId,
        payload: &Raw,
    ) -> Result<Success, Refusal> {
        let Delete { message_id: text, for_everyone } = validate::parse(payload)?;
        self.delete_message(request, id, message_id(&text)?, for_everyone).await
    }

    /// `DELETE …/messages/{message_id}`, and the push.
    ///
    /// # Errors
    /// `not_found` where there is no such message; `forbidden` for users who delete another's for everyone;
    /// `validation_failed` for services that would delete for themselves.
    pub(crate) async fn delete_message(
        &self,
        request: &Request,
        id: &ConversationId,
        message: MessageId,
        for_everyone: bool,
    ) -> Result<Success, Refusal> {
        let ask = match (&request.principal, for_everyone) {
            (Principal::User(user), true) => Ask::Delete { by: Some(user.clone()) },
            (Principal::User(user), false) => Ask::Hide { user: user.clone() },
            (Principal::Service, true) => Ask::Delete { by: None },
            (Principal::Service, false) => {
                return Err(Refusal::invalid("for_everyone", "must be true of a service"));
            }
        };
        let roster = self.member_access(request, id).await?;
        let found = self.message(request, id, message).await?.ok_or_else(no_such_message)?;
        let deaf = match &request.principal {
            Principal::User(user) => roster.deaf_to(user).cloned(),
            Principal::Service => None,
        };
        let silent = found.silent.or(deaf);
        let asked = Asked { request: request.clone(), message, members_version: roster.version, silent, ask };
        self.enqueue_change(id, asked).await
    }
}

/// The answer where a message is deleted.
pub(crate) fn deleted() -> Refusal {
    Refusal::new(Reason::NotFound, "this message was deleted")
}
