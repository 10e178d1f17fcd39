//! What a socket does for its session: joins, pushes, and letting go.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use simurgh_backplane::{BusError, trace};
use simurgh_protocol::{
    ConversationId, Push, Raw, Reason, Ref, Refusal, Topic, UserId,
    envelope::{Call, ChosenStatus, Head, JoinedConversation, JoinedUser, Principal},
    record::{Status, Unread},
};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, info_span};

use super::{OnTopic, Socket};
use crate::{
    Shared,
    auth::Claims,
    blocks::{self, Unseen},
    mailbox::ChannelId,
    metrics::kind,
    rates::exceeded,
    sockets::UserChannel,
    topic::{Joined as TopicJoined, actor::Command},
    topics::Attachment,
    users::Message,
    visible::{
        self,
        view::{Channel as OwnChannel, Key},
    },
    workers::BUDGET,
};

/// What a channel holds on to.
pub(super) enum Held {
    /// The user's own topic.
    User(UserTopic),
    /// A conversation.
    Conversation {
        /// Keeps the topic.
        attachment: Attachment,
        /// Where the join's reply says that the logs stand.
        head: Head,
        /// The status that the user had chosen.
        chosen: Option<ChosenStatus>,
        /// Whom the user does not see there.
        unseen: Unseen,
    },
}

/// What a join of the user topic found out.
pub(super) struct UserTopic {
    phx_ref: String,
    visible: Vec<UserId>,
    unread: Vec<Unread>,
}

/// A join that may be.
pub(super) struct Joined {
    response: Raw,
    held: Held,
}

impl Joined {
    pub(super) fn split(self) -> (Raw, Held) {
        (self.response, self.held)
    }
}

/// Work that is done.
pub(super) enum Outcome {
    Joined { channel: ChannelId, topic: Topic, began: Instant, result: Result<Joined, Refusal> },
    Done { channel: ChannelId, push: Push, began: Instant, result: Result<Raw, Refusal> },
    Renewed { channel: ChannelId, began: Instant, result: Result<(Raw, Claims), Refusal> },
}

impl<T> Socket<T> {
    /// Finds out whether the channel may be joined, and gets ready for its broadcasts.
    pub(super) fn join(
        &self,
        channel: ChannelId,
        topic: Topic,
        params: Raw,
        until: Instant,
    ) -> BoxFuture<'static, Outcome> {
        let (shared, user, session_id) =
            (Arc::clone(&self.shared), self.user.clone(), self.session_id.clone());
        let key = (self.mailbox.socket, channel);
        let span = info_span!(target: trace::TARGET, "join", topic = kind(&topic));
        let joining = async move {
            let result = match shared.joins.reserve(shared.env.instant()) {
                Err(retry_after) => Err(exceeded(retry_after)),
                Ok(wait) => {
                    tokio::time::sleep(wait).await;
                    match &topic {
                        Topic::User(_) => join_user(&shared, &user, key, &session_id, until).await,
                        Topic::Conversation(id) => join_conversation(&shared, &user, id, params, until).await,
                    }
                }
            };
            Outcome::Joined { channel, topic, began: asked_at(until), result }
        };
        Box::pin(joining.instrument(span))
    }

    /// The join's reply is on its way: broadcasts follow.
    pub(super) async fn open(&mut self, channel: ChannelId, topic: &Topic, join_ref: Ref) {
        let mailbox = Arc::clone(&self.mailbox);
        match self.held.get_mut(&channel).map(Box::as_mut) {
            Some(OnTopic { held: Held::User(own), .. }) => {
                let UserTopic { visible: sees, unread, .. } = own;
                let (sees, unread) = (std::mem::take(sees), std::mem::take(unread));
                let (user, key) = (self.user.clone(), (mailbox.socket, channel));
                let opened = OwnChannel {
                    form: self.vsn.into(),
                    join_ref,
                    mailbox: Arc::clone(&mailbox),
                    unread: Some(unread),
                };
                self.shared.sockets.open(&user, UserChannel { channel, form: self.vsn.into(), mailbox });
                let open = visible::Message::Open { user, key, channel: Box::new(opened), sees };
                self.shared.visible.tell(open).await;
            }
            Some(OnTopic { held: Held::Conversation { attachment, head, chosen, unseen }, .. }) => {
                let joined = TopicJoined {
                    channel,
                    user: Some(self.user.clone()),
                    form: self.vsn.into(),
                    join_ref,
                    mailbox,
                    head: head.clone(),
                    unseen: unseen.clone(),
                };
                attachment.tell(Command::Join(Box::new(joined), *chosen)).await;
                // What was heard before the topic knew of the channel was not told to it.
                if self.shared.blocks.changed_since(&self.user, unseen.asked) {
                    blocks::look(&self.shared, self.user.clone());
                }
            }
            None => {
                tracing::error!(%topic, "a channel was opened that holds nothing: a fault of this build, report it")
            }
        }
    }

    /// Lets go of a channel.
    pub(super) async fn release(&mut self, channel: ChannelId, topic: Topic, held: Held, dropped: bool) {
        let socket = self.mailbox.socket;
        let phx_ref = match held {
            Held::User(state) => {
                self.shared.sockets.close(&self.user, socket, channel);
                let (user, key) = (self.user.clone(), (socket, channel));
                self.shared.visible.tell(visible::Message::Close { user, key }).await;
                Some(state.phx_ref)
            }
            Held::Conversation { attachment, .. } => {
                attachment.tell(Command::Leave { socket, channel, dropped }).await;
                None
            }
        };
        self.shared.users.tell(Message::Leave { user: self.user.clone(), topic, phx_ref, dropped }).await;
    }

    /// The mailbox has room again.
    pub(super) async fn room(&mut self, topics: Vec<ConversationId>, user_topic: bool) {
        for id in topics {
            self.shared.topics.tell(&id, Command::Drained(self.mailbox.socket)).await;
        }
        let own = self.held.iter().find(|(_, on)| matches!(on.held, Held::User(_))).map(|(id, _)| *id);
        if let Some(channel) = own.filter(|_| user_topic) {
            let key = (self.mailbox.socket, channel);
            self.shared.visible.tell(visible::Message::Missed { user: self.user.clone(), key }).await;
        }
    }

    /// Carries a push out.
    pub(super) fn carry_out(
        &self,
        channel: ChannelId,
        topic: Topic,
        push: Push,
        payload: Raw,
        until: Instant,
    ) -> BoxFuture<'static, Outcome> {
        let (shared, user) = (Arc::clone(&self.shared), self.user.clone());
        let attachment = match self.held.get(&channel).map(Box::as_ref) {
            Some(OnTopic { held: Held::Conversation { attachment, .. }, .. }) => Some(attachment.clone()),
            _ => None,
        };
        let span = info_span!(target: trace::TARGET, "push", event = push.as_str());
        let carrying_out = async move {
            let result = match push {
                Push::AccessToken => {
                    let result = renew(&shared, &user, &payload, until).await;
                    return Outcome::Renewed { channel, began: asked_at(until), result };
                }
                Push::UpdatePresence => choose(&shared, user, &payload, until).await,
                Push::TypingStart | Push::TypingStop => {
                    if let Some(attachment) = attachment {
                        let start = push == Push::TypingStart;
                        attachment.tell(Command::Typing { user, start }).await;
                    }
                    Ok(Raw::empty())
                }
                _ => {
                    let conversation = match topic {
                        Topic::Conversation(id) => Some(id),
                        Topic::User(_) => None,
                    };
                    let call = Call::Push { conversation, push, payload };
                    shared
                        .workers
                        .call_until(until, Principal::User(user), call)
                        .await
                        .map(|success| success.body)
                }
            };
            Outcome::Done { channel, push, began: asked_at(until), result }
        };
        Box::pin(carrying_out.instrument(span))
    }
}

/// When something that is answered by then was asked.
fn asked_at(until: Instant) -> Instant {
    until.checked_sub(BUDGET).unwrap_or(until)
}

async fn ask<T: serde::de::DeserializeOwned>(
    shared: &Shared,
    user: &UserId,
    call: Call,
    until: Instant,
) -> Result<T, Refusal> {
    let success = shared.workers.call_until(until, Principal::User(user.clone()), call).await?;
    success.body.parse().map_err(|error| {
        tracing::warn!(%error, "a worker's answer could not be read: upgrade this gateway");
        Refusal::unavailable("the answer could not be read")
    })
}

fn unreachable(error: &BusError) -> Refusal {
    tracing::debug!(%error, "the backplane is out of reach");
    Refusal::unavailable("the backplane is out of reach")
}

async fn join_user(
    shared: &Arc<Shared>,
    user: &UserId,
    key: Key,
    session_id: &str,
    until: Instant,
) -> Result<Joined, Refusal> {
    // From here on news of whom the user sees is not missed.
    shared.visible.tell(visible::Message::Joining { user: user.clone(), key }).await;
    let (topic, phx_ref) = (Topic::User(user.clone()), shared.env.short_id());
    // The entry is written before the reply: what is said to the user from then on finds this gateway.
    let status = shared.users.join(user.clone(), topic.clone(), Some(phx_ref.clone()), until).await;
    let found = match &status {
        Ok(_) => ask::<JoinedUser>(shared, user, Call::JoinUser, until).await,
        Err(error) => Err(unreachable(error)),
    };
    match found {
        Ok(JoinedUser { visible, unread }) => {
            let status = status.ok().flatten().map_or(Status::Online, |chosen| chosen.status);
            let response = Raw::of(&json!({"user_id": user, "status": status, "session_id": session_id}));
            Ok(Joined { response, held: Held::User(UserTopic { phx_ref, visible, unread }) })
        }
        Err(refusal) => {
            let gone = Message::Leave { user: user.clone(), topic, phx_ref: Some(phx_ref), dropped: false };
            shared.users.tell(gone).await;
            shared.visible.tell(visible::Message::Close { user: user.clone(), key }).await;
            Err(refusal)
        }
    }
}

async fn join_conversation(
    shared: &Arc<Shared>,
    user: &UserId,
    id: &ConversationId,
    params: Raw,
    until: Instant,
) -> Result<Joined, Refusal> {
    // The subscription stands before the log is read, so that nothing falls in between.
    let attachment = shared.topics.attach(id, shared, until).await.map_err(|error| unreachable(&error))?;
    let call = Call::JoinConversation { conversation: id.clone(), params };
    let asked = shared.blocks.ask();
    let JoinedConversation { head, response, unseen } = ask(shared, user, call, until).await?;
    let topic = Topic::Conversation(id.clone());
    let chosen = match shared.users.join(user.clone(), topic.clone(), None, until).await {
        Ok(chosen) => chosen,
        Err(error) => {
            let gone = Message::Leave { user: user.clone(), topic, phx_ref: None, dropped: false };
            shared.users.tell(gone).await;
            return Err(unreachable(&error));
        }
    };
    Ok(Joined {
        response,
        held: Held::Conversation { attachment, head, chosen, unseen: Unseen::new(asked, unseen) },
    })
}

async fn renew(
    shared: &Shared,
    user: &UserId,
    payload: &Raw,
    until: Instant,
) -> Result<(Raw, Claims), Refusal> {
    #[derive(Deserialize)]
    struct AccessToken {
        access_token: String,
    }
    let AccessToken { access_token } =
        payload.parse().map_err(|_| Refusal::invalid("access_token", "must be a text"))?;
    let refused = |message: &str| Refusal::new(Reason::Unauthorized, message);
    let verified = timeout_at(until, shared.auth.authenticate(&access_token, &shared.env)).await;
    let claims = verified.map_err(|_| Refusal::unavailable("the token could not be verified in time"))??;
    if claims.user.as_ref() != Some(user) {
        return Err(refused("this is another user's token"));
    }
    shared.workers.call_presenting(until, Principal::Service, claims.presented(), Call::Admit).await?;
    Ok((Raw::of(&json!({"expires_at": claims.expires_at})), claims))
}

async fn choose(shared: &Shared, user: UserId, payload: &Raw, until: Instant) -> Result<Raw, Refusal> {
    #[derive(Deserialize)]
    struct Chosen {
        status: Status,
    }
    let Chosen { status } = payload
        .parse()
        .map_err(|_| Refusal::invalid("status", "must be one of online, away, busy, offline"))?;
    shared.users.choose(user, status, until).await.map_err(|error| unreachable(&error))?;
    Ok(Raw::of(&json!({ "status": status })))
}
