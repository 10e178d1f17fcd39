//! The subprotocols that a WebSocket client offers: phoenix.js' own, and its token beside it (contract section 2).

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::limits::TOKEN_BYTES;

/// The subprotocol that phoenix.js offers along with its token, and that the 101 then answers.
pub const PHOENIX: &str = "phoenix";

/// Before the base64 of a token, as a subprotocol (phoenix.js' `authToken`).
pub const TOKEN_PREFIX: &str = "base64url.bearer.phx.";

/// Takes base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subprotocols {
    /// Whether [`PHOENIX`] is.
    pub phoenix: bool,
    /// The first token that can be read.
    pub token: Option<String>,
}

impl Subprotocols {
    /// Reads the values of `Sec-WebSocket-Protocol`, which may come several times; others are ignored.
    #[must_use]
    pub fn read<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut offered = Self::default();
        for one in values.flat_map(|value| value.split(',')).map(str::trim) {
            if one == PHOENIX {
                offered.phoenix = true;
            } else if let Some(text) = one.strip_prefix(TOKEN_PREFIX) {
                offered.token = offered.token.or_else(|| decoded(text));
            }
        }
        offered
    }
}

/// Base64 of either alphabet, padded or not.
fn decoded(text: &str) -> Option<String> {
    // Four characters for three bytes: what is longer would be refused after decoding.
    if text.len() > TOKEN_BYTES / 3 * 4 + 4 {
        return None;
    }
    let standard = text.replace('-', "+").replace('_', "/");
    String::from_utf8(BASE64.decode(standard).ok()?).ok()
}
