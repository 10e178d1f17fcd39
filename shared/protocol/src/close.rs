//! Close codes (contract section 3).

/// Why the server closes a WebSocket. It never starts a close with 1000 or 1008.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseCode {
    /// Silent for 60 s.
    Silent,
    /// A violation of RFC 6455.
    ProtocolError,
    /// Not UTF-8, not JSON, or not a message of the protocol.
    InvalidFrame,
    /// A frame larger than the limit.
    FrameTooBig,
    /// The gateway drains; a reconnect finds another.
    ServiceRestart,
    /// Nothing could be written for 30 s.
    SlowConsumer,
    /// The token ran out and was not renewed.
    TokenExpired,
    /// The user's sessions were revoked.
    Revoked,
}

impl CloseCode {
    /// The code on the wire and the reason text beside it.
    #[must_use]
    pub const fn wire(self) -> (u16, &'static str) {
        match self {
            Self::Silent => (1002, "silent"),
            Self::ProtocolError => (1002, "protocol_error"),
            Self::InvalidFrame => (1007, "invalid_frame"),
            Self::FrameTooBig => (1009, "frame_too_big"),
            Self::ServiceRestart => (1012, "service_restart"),
            Self::SlowConsumer => (1013, "slow_consumer"),
            Self::TokenExpired => (4001, "token_expired"),
            Self::Revoked => (4003, "revoked"),
        }
    }
}
