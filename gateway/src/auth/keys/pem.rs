//! Public keys in PEM: `PUBLIC KEY` (SubjectPublicKeyInfo) and `RSA PUBLIC KEY` (PKCS #1).

use jsonwebtoken::DecodingKey;
use pem::Pem;

use super::{Key, KeyError, MAX_KEYS};

pub(super) fn keys(file: &[u8]) -> Result<Vec<Key>, KeyError> {
    let blocks = pem::parse_many(file).map_err(|_| KeyError::NoPem)?;
    // parse_many passes over what is cut off or garbled in the middle of a block.
    let begun = file.windows(BEGIN.len()).filter(|window| *window == BEGIN).count();
    if blocks.is_empty() || begun != blocks.len() {
        return Err(KeyError::NoPem);
    }
    if blocks.len() > MAX_KEYS {
        return Err(KeyError::TooMany);
    }
    blocks.iter().map(key).collect()
}

const BEGIN: &[u8] = b"-----BEGIN";

fn key(block: &Pem) -> Result<Key, KeyError> {
    match block.tag() {
        "PUBLIC KEY" => {}
        "RSA PUBLIC KEY" => return Key::rsa_der(None, block.contents()),
        "CERTIFICATE" => return Err(KeyError::Certificate),
        tag if tag.contains("PRIVATE KEY") => return Err(KeyError::Private),
        _ => return Err(KeyError::Unusable),
    }
    let text = pem::encode(block);
    if let Ok(material) = DecodingKey::from_rsa_pem(text.as_bytes()) {
        return Key::rsa_der(None, material.try_get_as_bytes().map_err(|_| KeyError::Unusable)?);
    }
    if let Ok(material) = DecodingKey::from_ec_pem(text.as_bytes()) {
        return Key::p256(None, material);
    }
    Key::ed25519(None, DecodingKey::from_ed_pem(text.as_bytes()).map_err(|_| KeyError::Unusable)?)
}
