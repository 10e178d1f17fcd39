//! JSON Web Keys (RFC 7517) of the kinds that sign tokens here (RFC 7518, section 6; RFC 8037, section 2).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use rsa::{BigUint, RsaPublicKey};
use serde::Deserialize;
use serde_json::Value;

use super::{Key, KeyError, MAX_KEYS};

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// The private part.
    d: Option<Value>,
}

/// The usable keys. A set may hold keys for other purposes, of other kinds, or of kinds to come (RFC 7517, section 5):
/// they are passed over.
pub(super) fn keys(text: &[u8]) -> Result<Vec<Key>, KeyError> {
    let Set { keys } = serde_json::from_slice(text).map_err(|_| KeyError::NotASet)?;
    if keys.len() > MAX_KEYS {
        return Err(KeyError::TooMany);
    }
    let keys: Vec<Key> = keys
        .into_iter()
        .filter_map(|value| serde_json::from_value::<Jwk>(value).ok())
        .filter(signs)
        .filter_map(|jwk| key(jwk).ok())
        .collect();
    if keys.is_empty() { Err(KeyError::NoneUsable) } else { Ok(keys) }
}

/// Whether it is for signatures, and is one that only the issuer can make: whoever reads a private key can, too.
fn signs(jwk: &Jwk) -> bool {
    jwk.d.is_none()
        && jwk.usage.as_ref().is_none_or(|usage| usage == "sig")
        && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"))
}

fn key(jwk: Jwk) -> Result<Key, KeyError> {
    let Jwk { kty, kid, alg, crv, n, e, x, y, .. } = jwk;
    let is_for = |algorithm: &str| alg.as_ref().is_none_or(|alg| alg == algorithm);
    let part = |part: &Option<String>| {
        URL_SAFE_NO_PAD.decode(part.as_deref().unwrap_or_default()).map_err(|_| KeyError::Unusable)
    };
    match (kty.as_str(), crv.as_deref()) {
        ("RSA", _) if is_for("RS256") => {
            let (n, e) = (BigUint::from_bytes_be(&part(&n)?), BigUint::from_bytes_be(&part(&e)?));
            Key::rsa(kid, &RsaPublicKey::new(n, e).map_err(|_| KeyError::Unusable)?)
        }
        ("EC", Some("P-256")) if is_for("ES256") => {
            // An uncompressed point (SEC 1, section 2.3.3).
            let point = [&[4][..], &part(&x)?, &part(&y)?].concat();
            Key::p256(kid, DecodingKey::from_ec_der(&point))
        }
        ("OKP", Some("Ed25519")) if is_for("EdDSA") || is_for("Ed25519") => {
            Key::ed25519(kid, DecodingKey::from_ed_der(&part(&x)?))
        }
        _ => Err(KeyError::Unusable),
    }
}
