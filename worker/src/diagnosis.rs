//! What became of a message on its way to a user: `GET /api/v1/conversations/{id}/messages/{message_id}/delivery`.
//!
//! The store says when the message was stored and whether the user was a member; the gateways say which sockets the user
//! has and what was written to them. All gateways with a lease are asked, for a socket without channels shows in nobody's
//! presence. Nothing is changed, and who does not answer within moments is named and not waited for.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    future::{try_join, try_join4},
    stream,
};
use simurgh_backplane::{Bucket, BusError, subject};
use simurgh_protocol::{
    ConversationId, MessageId, Refusal, UserId,
    envelope::{
        self, Delivery, GatewayEnvelope, GatewayState, MemberThenAndNow, SocketsHere, StoredAt, Success,
        UserPresence,
    },
};
use tokio::time::{Instant, timeout_at};

use crate::{
    Request, Worker,
    members::{MemberDocument, Position, held_without},
    reactions::no_such_message,
    store::keys,
};

mod verdict;

use verdict::{Come, Place, gathered, overall};

/// How long presence and all gateways together have to answer. With what the store takes it is less than a second.
const GATEWAYS: Duration = Duration::from_millis(700);
/// Gateways that are asked at once.
const AT_ONCE: usize = 256;
/// Gateways that are asked, at most: those where the user is known to be first.
const ASKED: usize = 2_048;
/// Sockets, and gateways, that an answer names, at most: some 300 bytes each, and an envelope has 768 KiB.
const NAMED: usize = 512;

/// What gateways said, and whether there are more than were asked.
struct Asked {
    places: BTreeMap<String, Place>,
    left_out: bool,
}

/// How many connections of the user the presence entry of each gateway names, and which gateways have a lease.
struct Known {
    connections: BTreeMap<String, usize>,
    leases: Vec<String>,
}

impl Worker {
    /// What became of a message on its way to `user`: a [`Delivery`], for services.
    ///
    /// # Errors
    /// `forbidden` for users, `not_found` where there is no such conversation or message, `unavailable` where the store or
    /// presence does not answer. A gateway that does not makes the answer a partial one.
    pub(crate) async fn delivery(
        &self,
        request: &Request,
        conversation_id: ConversationId,
        message_id: MessageId,
        user_id: UserId,
    ) -> Result<Success, Refusal> {
        request.service_only()?;
        let (id, user) = (&conversation_id, &user_id);
        let key = keys::member(id, user);
        let seqs = [message_id.seq()].into();
        let (roster, message, member, hidden) = try_join4(
            self.member_access(request, id),
            self.message(request, id, message_id),
            self.load::<MemberDocument>(request, &key),
            self.hidden_among(request, id, user, &seqs),
        )
        .await?;
        let message = message.ok_or_else(no_such_message)?;
        let hidden = !hidden.is_empty() || message.silent.as_ref() == Some(user);
        let stored = StoredAt { at: message.sent_at, seq: message.seq() };
        let document = member.map(|member| member.document);
        let then = match &document {
            Some(document) => document.held(stored.at),
            None => held_without(stored.at, self.env.now()),
        };
        let member = MemberThenAndNow { then, now: roster.members.contains(user) };
        // What the user sent reads, too, and may not be written yet.
        let sent = self.memory.bursts.position(id, user);
        let document = document.filter(|document| member.now && document.holds());
        let position =
            |which| document.as_ref().map(|document: &MemberDocument| document.position(which).max(sent));
        let (last_read_seq, last_delivered_seq) = (position(Position::Read), position(Position::Delivered));
        let come = Come::of(document.as_ref(), sent, stored);
        let Asked { places, left_out } = self.ask_gateways(id, user).await?;
        let silent = left_out || places.values().any(Place::partial);
        let (mut sockets, mut gateways) = gathered(places, stored.seq);
        let (verdict, reason) = overall(&sockets, member, come, silent);
        let partial = silent || sockets.len() > NAMED || gateways.len() > NAMED;
        sockets.truncate(NAMED);
        gateways.truncate(NAMED);
        Ok(Success::ok(&Delivery {
            conversation_id,
            message_id,
            user_id,
            stored,
            deleted: message.deleted.is_some(),
            hidden,
            member,
            last_read_seq,
            last_delivered_seq,
            verdict,
            reason,
            sockets,
            gateways,
            partial,
        }))
    }

    /// What each gateway says that has a lease, or that an entry of the user's names.
    async fn ask_gateways(&self, id: &ConversationId, user: &UserId) -> Result<Asked, Refusal> {
        let until = self.env.instant() + GATEWAYS;
        let Known { connections, mut leases } = timeout_at(until, self.known(user))
            .await
            .unwrap_or(Err(BusError::TimedOut))
            .map_err(|error| {
                tracing::debug!(%error, "it is not known which gateways live: check NATS");
                Refusal::unavailable("it is not known which gateways live")
            })?;
        let question =
            envelope::encode(&GatewayEnvelope::Sockets { conversation: id.clone(), user: user.clone() });
        leases.sort_by_key(|gateway| !connections.contains_key(gateway));
        let left_out = leases.len() > ASKED;
        leases.truncate(ASKED);
        let asking: Vec<_> =
            leases.into_iter().map(|gateway| self.ask_gateway(gateway, question.clone(), until)).collect();
        let answers: Vec<_> = stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
        let mut places: BTreeMap<String, Place> = connections
            .into_iter()
            .map(|(gateway, connections)| (gateway, Place::left_behind(connections)))
            .collect();
        for (gateway, state, said) in answers {
            let place = places.entry(gateway).or_default();
            (place.state, place.said) = (state, said);
        }
        Ok(Asked { places, left_out })
    }

    async fn ask_gateway(
        &self,
        gateway: String,
        question: Bytes,
        until: Instant,
    ) -> (String, GatewayState, Option<SocketsHere>) {
        let left = until.saturating_duration_since(self.env.instant());
        if left.is_zero() {
            return (gateway, GatewayState::Silent, None);
        }
        let asked = self.bus.request(&self.subjects.gateway(&gateway), question, left).await;
        let (state, said) = answered(asked);
        (gateway, state, said)
    }

    async fn known(&self, user: &UserId) -> Result<Known, BusError> {
        let (filter, all) = ([subject::user_filter(user)], [subject::all_leases()]);
        let (entries, leases) =
            try_join(self.bus.get_many(Bucket::Presence, &filter), self.bus.get_many(Bucket::Leases, &all))
                .await?;
        let connections = |value: &[u8]| {
            // One without a meta has channels there, and has not joined the user topic.
            envelope::decode::<UserPresence>(value)
                .map_or(1, |presence| (presence.metas.len() + presence.watchers).max(1))
        };
        let connections =
            entries.iter().filter_map(|entry| Some((entry.key.parts().pop()?, connections(&entry.value))));
        Ok(Known {
            connections: connections.collect(),
            leases: leases.iter().filter_map(|lease| lease.key.parts().pop()).collect(),
        })
    }
}

/// What an answer says, and what it means where there is none.
fn answered(answer: Result<Bytes, BusError>) -> (GatewayState, Option<SocketsHere>) {
    match answer.map(|bytes| envelope::decode::<SocketsHere>(&bytes)) {
        Ok(Ok(said)) => (GatewayState::Answered, Some(said)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a gateway's answer cannot be read: gateways and workers are of different builds");
            (GatewayState::Silent, None)
        }
        Err(BusError::NoResponders) => (GatewayState::Unreachable, None),
        Err(_) => (GatewayState::Silent, None),
    }
}

#[cfg(test)]
mod tests;
