//! What follows from what the store and the gateways say. Pure.

use std::collections::BTreeMap;

use simurgh_protocol::envelope::{
    ChannelHere, ChannelState, GatewayAsked, GatewayState, MemberThenAndNow, SocketDelivery, SocketHere,
    SocketsHere, StoredAt, Verdict, Why,
};

use crate::members::{MemberDocument, Position};

/// What a member's positions say of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Come {
    /// The user has read it.
    read: bool,
    /// A client of the user's said that it came.
    delivered: bool,
}

impl Come {
    /// Of who is a member now, and has sent what is at `sent`. A position begins at the log's end for who becomes a
    /// member, so it says nothing of what was stored before.
    pub(super) fn of(member: Option<&MemberDocument>, sent: u64, stored: StoredAt) -> Self {
        let Some(member) = member.filter(|member| member.joined_at <= stored.at) else {
            return Self::default();
        };
        let covers = |position| member.position(position).max(sent) >= stored.seq;
        Self { read: covers(Position::Read), delivered: covers(Position::Delivered) }
    }
}

/// What is known of a user on one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Whether it answered.
    pub(super) state: GatewayState,
    /// What.
    pub(super) said: Option<SocketsHere>,
    /// Connections that its presence entry of the user names.
    pub(super) connections: usize,
}

impl Default for Place {
    fn default() -> Self {
        Self::left_behind(0)
    }
}

impl Place {
    /// A gateway of which nothing is known but its presence entry.
    pub(super) fn left_behind(connections: usize) -> Self {
        Self { state: GatewayState::Gone, said: None, connections }
    }

    /// Whether there may be more than is known.
    pub(super) fn partial(&self) -> bool {
        self.is_silent() || self.said.as_ref().is_some_and(|said| said.left_out > 0)
    }

    fn is_silent(&self) -> bool {
        matches!(self.state, GatewayState::Silent | GatewayState::Unreachable)
    }

    /// Whether it has anything to do with the user, or did not answer.
    fn is_told(&self) -> bool {
        self.is_silent()
            || self.connections > 0
            || self.said.as_ref().is_some_and(|said| !said.sockets.is_empty() || said.dropped > 0)
    }
}

/// The user's sockets, and the gateways that are worth a word.
pub(super) fn gathered(
    places: BTreeMap<String, Place>,
    seq: u64,
) -> (Vec<SocketDelivery>, Vec<GatewayAsked>) {
    let (mut sockets, mut gateways) = (Vec::new(), Vec::new());
    for (id, place) in places.into_iter().filter(|(_, place)| place.is_told()) {
        gateways.push(GatewayAsked { id: id.clone(), state: place.state });
        let (verdict, why, unseen) = match place.state {
            GatewayState::Answered => {
                (Verdict::Behind, Why::SocketGone, place.said.as_ref().map_or(0, |said| said.dropped))
            }
            GatewayState::Gone => (Verdict::Behind, Why::SocketGone, place.connections),
            GatewayState::Silent | GatewayState::Unreachable => {
                (Verdict::Unknown, Why::GatewaySilent, place.connections)
            }
        };
        let SocketsHere { sockets: open, heard_seq, .. } = place.said.unwrap_or_default();
        sockets.extend(open.into_iter().map(|socket| of_socket(&id, socket, heard_seq, seq)));
        sockets.extend((0..unseen).map(|_| unseen_socket(&id, verdict, why)));
    }
    (sockets, gateways)
}

fn of_socket(gateway: &str, socket: SocketHere, heard_seq: u64, seq: u64) -> SocketDelivery {
    let SocketHere { session_id, transport, unsent_bytes, channel } = socket;
    let (verdict, reason) = channel
        .as_ref()
        .map_or((Verdict::Behind, Why::NotJoined), |channel| of_channel(channel, heard_seq, seq));
    SocketDelivery {
        gateway: gateway.to_owned(),
        session_id: Some(session_id),
        transport: Some(transport),
        last_seq: channel.map(|channel| channel.sent_seq),
        unsent_bytes: Some(unsent_bytes),
        verdict,
        reason,
    }
}

fn unseen_socket(gateway: &str, verdict: Verdict, reason: Why) -> SocketDelivery {
    let gateway = gateway.to_owned();
    SocketDelivery {
        gateway,
        session_id: None,
        transport: None,
        last_seq: None,
        unsent_bytes: None,
        verdict,
        reason,
    }
}

fn of_channel(channel: &ChannelHere, heard_seq: u64, seq: u64) -> (Verdict, Why) {
    match channel.state {
        _ if channel.joined_seq >= seq => (Verdict::Delivered, Why::BeforeJoin),
        _ if channel.sent_seq >= seq => (Verdict::Delivered, Why::Sent),
        _ if channel.queued_seq >= seq => (Verdict::Pending, Why::Queued),
        ChannelState::Full => (Verdict::Behind, Why::MailboxFull),
        ChannelState::Unchecked => (Verdict::Pending, Why::Unchecked),
        ChannelState::Open if heard_seq < seq => (Verdict::Pending, Why::Unheard),
        ChannelState::Open => (Verdict::Pending, Why::Gap),
    }
}

/// What became of the message for the user: what it did at the socket that it reached furthest.
pub(super) fn overall(
    sockets: &[SocketDelivery],
    member: MemberThenAndNow,
    come: Come,
    partial: bool,
) -> (Verdict, Why) {
    let furthest = sockets.iter().map(|socket| (socket.verdict, socket.reason)).min();
    match furthest {
        Some((Verdict::Delivered, why)) => (Verdict::Delivered, why),
        _ if come.read => (Verdict::Delivered, Why::Read),
        _ if come.delivered => (Verdict::Delivered, Why::Received),
        _ if !member.now => (Verdict::Behind, Why::NotAMember),
        Some((Verdict::Pending, why)) => (Verdict::Pending, why),
        _ if partial => (Verdict::Unknown, Why::GatewaySilent),
        Some(furthest) => furthest,
        None => (Verdict::Behind, Why::NoSocket),
    }
}

#[cfg(test)]
mod tests;
