//! The keys that tokens may be signed with.
//!
//! A key is good for one algorithm, which comes from the key and never from a token. So `none`, and a public key that is
//! taken for an HMAC secret, cannot be asked for.

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, crypto};
use rsa::{RsaPublicKey, pkcs1::DecodeRsaPublicKey as _, traits::PublicKeyParts as _};
use serde_json::{Map, Value};

use super::{AuthError, unreadable};

mod jwk;
mod pem;

/// Keys that are kept of one source. Issuers publish a few; each costs a verification where a token names none.
pub(super) const MAX_KEYS: usize = 32;

/// Keys that one token is tried with.
const MAX_TRIED: usize = 8;

/// The least bits of an RSA key (RFC 7518, section 3.3). The most are 4,096, the limit of the crate that verifies.
const RSA_BITS: usize = 2_048;

/// Bytes of an Ed25519 key.
const ED25519_BYTES: usize = 32;

/// Why a source has no usable keys. Never holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A PEM file with something private.
    #[error("holds a private key: give the public one alone")]
    Private,
    /// A PEM file with a certificate.
    #[error("holds a certificate: give the public key in it (openssl x509 -pubkey -noout)")]
    Certificate,
    /// Not PEM, or nothing in it.
    #[error("holds no public key in PEM")]
    NoPem,
    /// Another kind of key.
    #[error("holds a key that is not RSA of 2048 to 4096 bits, P-256 or Ed25519")]
    Unusable,
    /// More than [`MAX_KEYS`].
    #[error("holds more than {MAX_KEYS} keys")]
    TooMany,
    /// Not what RFC 7517, section 5 describes.
    #[error("is not a JSON Web Key Set")]
    NotASet,
    /// A set without a key that signs with one of the algorithms.
    #[error("holds no usable key for RS256, ES256 or EdDSA")]
    NoneUsable,
}

/// A key and what it is good for.
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    material: DecodingKey,
    /// Accepts the key's algorithm alone.
    validation: Validation,
}

impl Key {
    fn new(id: Option<String>, material: DecodingKey, algorithm: Algorithm) -> Self {
        let mut validation = Validation::new(algorithm);
        // The claims are checked in `Auth`, against the time and the settings that were passed in.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self { id, algorithm, material, validation }
    }

    fn rsa(id: Option<String>, key: &RsaPublicKey) -> Result<Self, KeyError> {
        if key.n().bits() < RSA_BITS {
            return Err(KeyError::Unusable);
        }
        let material = DecodingKey::from_rsa_raw_components(&key.n().to_bytes_be(), &key.e().to_bytes_be());
        Ok(Self::new(id, material, Algorithm::RS256))
    }

    /// An RSA key in DER, as PKCS #1 has it.
    fn rsa_der(id: Option<String>, der: &[u8]) -> Result<Self, KeyError> {
        Self::rsa(id, &RsaPublicKey::from_pkcs1_der(der).map_err(|_| KeyError::Unusable)?)
    }

    /// A point of P-256 (`ES256`).
    fn p256(id: Option<String>, material: DecodingKey) -> Result<Self, KeyError> {
        // A point that is on another curve, or on none, shows when it is used.
        crypto::verify("", b"", &material, Algorithm::ES256).map_err(|_| KeyError::Unusable)?;
        Ok(Self::new(id, material, Algorithm::ES256))
    }

    fn ed25519(id: Option<String>, material: DecodingKey) -> Result<Self, KeyError> {
        // jsonwebtoken takes the first 32 bytes for granted.
        if material.try_get_as_bytes().map_or(0, <[u8]>::len) != ED25519_BYTES {
            return Err(KeyError::Unusable);
        }
        crypto::verify("", b"", &material, Algorithm::EdDSA).map_err(|_| KeyError::Unusable)?;
        Ok(Self::new(id, material, Algorithm::EdDSA))
    }
}

/// Keys of one source.
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// Whether a token's `kid` says which of them it is; where not, it is ignored.
    named: bool,
}

impl KeySet {
    /// A shared secret (`HS256`).
    pub(super) fn of_secret(secret: &[u8]) -> Self {
        let key = Key::new(None, DecodingKey::from_secret(secret), Algorithm::HS256);
        Self { keys: vec![key], named: false }
    }

    /// The public keys in a PEM file, one or, during a rotation, several.
    pub(super) fn of_pem(file: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { keys: pem::keys(file)?, named: false })
    }

    /// The keys of a JSON Web Key Set that are for signatures by one of the algorithms; others are passed over.
    pub(super) fn of_jwks(text: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { keys: jwk::keys(text)?, named: true })
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The claims of a token with this header, once one of the keys shows that its signature is good.
    pub(super) fn claims(&self, token: &str, header: &Header) -> Result<Map<String, Value>, AuthError> {
        let public = matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA);
        let by_name = header.kid.as_ref().filter(|_| self.named);
        if let Some(kid) = by_name
            && public
            && !self.keys.iter().any(|key| key.id.as_ref() == Some(kid))
        {
            return Err(AuthError::UnknownKey);
        }
        let eligible = self
            .keys
            .iter()
            .filter(|key| by_name.is_none() || key.id.as_ref() == by_name)
            .filter(|key| key.algorithm == header.alg);
        let mut outcome = Err(AuthError::Algorithm);
        for key in eligible.take(MAX_TRIED) {
            outcome = jsonwebtoken::decode(token, &key.material, &key.validation)
                .map(|token| token.claims)
                .map_err(|error| unreadable(error.kind()));
            // Another key may have signed it; nothing else becomes better.
            if outcome != Err(AuthError::Signature) {
                break;
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
