//! Issuers' keys, made for a test.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::{
    RsaPrivateKey,
    pkcs1::EncodeRsaPrivateKey as _,
    pkcs8::{EncodePublicKey as _, LineEnding},
    rand_core::OsRng,
    traits::PublicKeyParts as _,
};
use serde_json::{Value, json};

/// Signs tokens, and says with which public key they are verified.
#[derive(Clone)]
pub struct Signer {
    pub algorithm: Algorithm,
    pub private_pem: String,
    pub public_pem: String,
    /// Without a `kid`.
    pub jwk: Value,
    key: EncodingKey,
}

impl Signer {
    pub fn es256() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        Self {
            algorithm: Algorithm::ES256,
            jwk: json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y)}),
            key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(),
            private_pem: pair.serialize_pem(),
            public_pem: pair.public_key_pem(),
        }
    }

    pub fn ed25519() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Self {
            algorithm: Algorithm::EdDSA,
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key_raw())}),
            key: EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap(),
            private_pem: pair.serialize_pem(),
            public_pem: pair.public_key_pem(),
        }
    }

    /// Always the same: one takes seconds to make.
    pub fn rs256() -> Self {
        static MADE: LazyLock<Signer> = LazyLock::new(|| Signer::rsa(2_048));
        MADE.clone()
    }

    pub fn rsa(bits: usize) -> Self {
        let private = RsaPrivateKey::new(&mut OsRng, bits).unwrap();
        let private_pem = private.to_pkcs1_pem(LineEnding::LF).unwrap().to_string();
        let (n, e) = (text(&private.n().to_bytes_be()), text(&private.e().to_bytes_be()));
        Self {
            algorithm: Algorithm::RS256,
            jwk: json!({"kty": "RSA", "n": n, "e": e}),
            key: EncodingKey::from_rsa_pem(private_pem.as_bytes()).unwrap(),
            public_pem: private.to_public_key().to_public_key_pem(LineEnding::LF).unwrap(),
            private_pem,
        }
    }

    /// The public key as a set names it.
    pub fn named(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = kid.into();
        jwk
    }

    /// A token with these claims.
    pub fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
