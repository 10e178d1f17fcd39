//! How far channels were told the log, for who asks what became of a message.

use std::collections::BTreeMap;

use simurgh_protocol::{
    UserId,
    envelope::{ChannelHere, ChannelState},
};

use super::{Topic, channel::Channel};
use crate::mailbox::{ChannelId, SocketId};

/// What a topic knows of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The latest channel of each socket.
    pub channels: BTreeMap<SocketId, ChannelHere>,
    /// Connections that dropped a moment ago.
    pub dropped: usize,
    /// How far the log reaches by all that was heard.
    pub heard_seq: u64,
}

impl Topic {
    /// How far the user's channels were told.
    #[must_use]
    pub fn report(&self, user: &UserId) -> Report {
        let channels = self.channels.iter().filter(|(_, channel)| channel.user.as_ref() == Some(user));
        Report {
            channels: channels.map(|((socket, id), channel)| (*socket, self.channel(*id, channel))).collect(),
            dropped: 0,
            heard_seq: self.last_seq,
        }
    }

    fn channel(&self, id: ChannelId, channel: &Channel) -> ChannelHere {
        let state = if channel.full.is_some() {
            ChannelState::Full
        } else if channel.checked_at < self.members_version {
            ChannelState::Unchecked
        } else {
            ChannelState::Open
        };
        let sent_seq = channel.mailbox.unwritten(id).map_or(channel.seq, |seq| seq.saturating_sub(1));
        ChannelHere { joined_seq: channel.joined_seq, queued_seq: channel.seq, sent_seq, state }
    }
}

#[cfg(test)]
mod tests;
