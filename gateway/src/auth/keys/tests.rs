use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use serde_json::json;

use super::*;
use crate::auth::signers::Signer;

fn claims() -> Value {
    json!({"sub": "alice", "exp": 1_800_000_000})
}

fn taken(keys: &KeySet, token: &str) -> Result<Map<String, Value>, AuthError> {
    keys.claims(token, &jsonwebtoken::decode_header(token).unwrap())
}

fn pem(signers: &[&Signer]) -> KeySet {
    let file: Vec<_> = signers.iter().map(|signer| signer.public_pem.as_str()).collect();
    KeySet::of_pem(file.concat().as_bytes()).unwrap()
}

fn set(keys: &[Value]) -> Result<KeySet, KeyError> {
    KeySet::of_jwks(json!({ "keys": keys }).to_string().as_bytes())
}

fn each() -> [Signer; 3] {
    [Signer::rs256(), Signer::es256(), Signer::ed25519()]
}

#[test]
fn each_algorithm_is_taken_from_a_pem_file_and_from_a_set() {
    for signer in each() {
        let algorithm = signer.algorithm;
        let unnamed = signer.token(None, &claims());
        assert_eq!(Value::Object(taken(&pem(&[&signer]), &unnamed).unwrap()), claims(), "{algorithm:?}");
        let published = set(&[signer.named("k1")]).unwrap();
        for token in [unnamed, signer.token(Some("k1"), &claims())] {
            assert_eq!(Value::Object(taken(&published, &token).unwrap()), claims(), "{algorithm:?}");
        }
    }
}

#[test]
fn an_rsa_key_may_be_pkcs_1_too() {
    let signer = Signer::rs256();
    let spki = ::pem::parse(&signer.public_pem).unwrap();
    let public = <RsaPublicKey as rsa::pkcs8::DecodePublicKey>::from_public_key_der(spki.contents()).unwrap();
    let pkcs1 = rsa::pkcs1::EncodeRsaPublicKey::to_pkcs1_pem(&public, rsa::pkcs8::LineEnding::LF).unwrap();
    let keys = KeySet::of_pem(pkcs1.as_bytes()).unwrap();
    assert!(taken(&keys, &signer.token(None, &claims())).is_ok());
}

#[test]
fn another_key_of_the_same_kind_is_refused() {
    for (ours, theirs) in [(Signer::es256(), Signer::es256()), (Signer::ed25519(), Signer::ed25519())] {
        let token = theirs.token(None, &claims());
        assert_eq!(taken(&pem(&[&ours]), &token), Err(AuthError::Signature));
        assert_eq!(taken(&set(&[ours.named("k1")]).unwrap(), &token), Err(AuthError::Signature));
    }
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    for signer in each() {
        let jwk = signer.jwk.to_string();
        let der = ::pem::parse(&signer.public_pem).unwrap().into_contents();
        for secret in
            [signer.public_pem.as_bytes(), signer.public_pem.trim().as_bytes(), jwk.as_bytes(), &der]
        {
            for kid in [None, Some("k1".to_owned()), Some("other".to_owned())] {
                let header = Header { kid, ..Header::new(Algorithm::HS256) };
                let key = EncodingKey::from_secret(secret);
                let forged = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
                assert_eq!(taken(&pem(&[&signer]), &forged), Err(AuthError::Algorithm));
                let published = set(&[signer.named("k1")]).unwrap();
                assert_eq!(taken(&published, &forged), Err(AuthError::Algorithm));
            }
        }
    }
}

#[test]
fn an_algorithm_is_the_keys_and_never_the_tokens() {
    let [rsa, ec, ed] = each();
    for (key, other) in [(&rsa, &ec), (&ec, &ed), (&ed, &rsa)] {
        let token = other.token(None, &claims());
        assert_eq!(taken(&pem(&[key]), &token), Err(AuthError::Algorithm));
        let named = other.token(Some("k1"), &claims());
        assert_eq!(taken(&set(&[key.named("k1")]).unwrap(), &named), Err(AuthError::Algorithm));
    }
    // The same key by an algorithm of its family that nobody configured.
    let token = rsa.token(None, &claims());
    let [_, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    for alg in ["RS384", "RS512", "PS256", "ES384", "HS256"] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg }).to_string());
        let forged = format!("{header}.{payload}.{signature}");
        assert_eq!(taken(&pem(&[&rsa]), &forged), Err(AuthError::Algorithm), "{alg}");
    }
    for alg in ["none", "None", "NONE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg }).to_string());
        for signature in ["", signature] {
            assert!(jsonwebtoken::decode_header(format!("{header}.{payload}.{signature}")).is_err(), "{alg}");
        }
    }
}

#[test]
fn a_file_may_hold_several_keys_and_both_are_taken() {
    let (old, new, other) = (Signer::es256(), Signer::es256(), Signer::ed25519());
    let keys = pem(&[&old, &new, &other]);
    assert_eq!(keys.len(), 3);
    for signer in [&old, &new, &other] {
        // A file has no names: whatever a token says is ignored.
        for kid in [None, Some("any")] {
            assert!(taken(&keys, &signer.token(kid, &claims())).is_ok());
        }
    }
    assert_eq!(taken(&keys, &Signer::es256().token(None, &claims())), Err(AuthError::Signature));
}

#[test]
fn what_is_no_file_of_public_keys_is_refused_and_why() {
    let refused = |text: &str| KeySet::of_pem(text.as_bytes()).err();
    let (ec, rsa) = (Signer::es256(), Signer::rs256());
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let garbage = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().public_key_pem();
    let cut = &ec.public_pem[..ec.public_pem.len() / 2];
    for (text, error) in [
        ("", KeyError::NoPem),
        ("secret", KeyError::NoPem),
        (cut, KeyError::NoPem),
        (&format!("{cut}\n{}", rsa.public_pem), KeyError::NoPem),
        (&ec.private_pem, KeyError::Private),
        (&rsa.private_pem, KeyError::Private),
        (&format!("{}{}", ec.public_pem, ec.private_pem), KeyError::Private),
        (certificate, KeyError::Certificate),
        (garbage, KeyError::Unusable),
        (&garbage.replace("PUBLIC", "RSA PUBLIC"), KeyError::Unusable),
        (&garbage.replace("PUBLIC", "ODD"), KeyError::Unusable),
        (&p384, KeyError::Unusable),
        (&Signer::rsa(1_024).public_pem, KeyError::Unusable),
        (&ec.public_pem.repeat(MAX_KEYS + 1), KeyError::TooMany),
    ] {
        assert_eq!(refused(text), Some(error), "{text}");
    }
}

#[test]
fn a_kid_says_which_key_and_no_other_is_tried() {
    let (first, second) = (Signer::es256(), Signer::es256());
    let keys = set(&[first.named("k1"), second.named("k2"), Signer::ed25519().named("k2")]).unwrap();
    assert!(taken(&keys, &first.token(Some("k1"), &claims())).is_ok());
    assert!(taken(&keys, &second.token(Some("k2"), &claims())).is_ok(), "a name for two kinds of key");
    assert!(taken(&keys, &second.token(None, &claims())).is_ok(), "a token may name none");
    assert_eq!(taken(&keys, &first.token(Some("k2"), &claims())), Err(AuthError::Signature));
    for kid in ["k3", "", "K1", "k1 ", "../k1", "k1' OR 1=1"] {
        assert_eq!(taken(&keys, &first.token(Some(kid), &claims())), Err(AuthError::UnknownKey), "{kid}");
    }
}

#[test]
fn keys_that_do_not_sign_here_are_passed_over() {
    let good = Signer::es256();
    let with = |signer: &Signer, key: &str, value: Value| {
        let mut jwk = signer.named("k1");
        jwk[key] = value;
        jwk
    };
    let (rsa, ed) = (Signer::rs256(), Signer::ed25519());
    let small = Signer::rsa(1_024).named("k1");
    for other in [
        with(&rsa, "use", json!("enc")),
        with(&rsa, "key_ops", json!(["sign"])),
        with(&rsa, "alg", json!("RS512")),
        with(&rsa, "alg", json!("PS256")),
        with(&rsa, "e", json!("Ag")),
        with(&rsa, "e", json!("AQ")),
        with(&rsa, "n", json!("AQAB")),
        with(&rsa, "n", json!("!")),
        with(&rsa, "n", json!(5)),
        with(&rsa, "n", json!("_".repeat(2_000))),
        with(&good, "d", json!("private")),
        with(&good, "crv", json!("P-384")),
        with(&good, "crv", json!("secp256k1")),
        with(&good, "x", json!("")),
        with(&good, "y", good.jwk["x"].clone()),
        with(&ed, "x", json!("AAAA")),
        with(&ed, "x", json!("")),
        with(&ed, "x", json!(URL_SAFE_NO_PAD.encode([2; 33]))),
        with(&ed, "crv", json!("X25519")),
        small,
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "HS256"}),
        json!({"kty": "AKP", "kid": "k1"}),
        json!({"kid": "k1"}),
        json!("k1"),
        json!(null),
    ] {
        assert_eq!(set(std::slice::from_ref(&other)).err(), Some(KeyError::NoneUsable), "{other}");
        let keys = set(&[other.clone(), good.named("k2")]).unwrap();
        assert_eq!(keys.len(), 1, "{other}");
        assert!(taken(&keys, &good.token(Some("k2"), &claims())).is_ok());
    }
    let full = with(&good, "use", json!("sig"));
    assert!(set(&[full]).is_ok());
}

#[test]
fn what_is_no_set_is_refused() {
    let junk = ["", "<html>", "[]", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":"#, "{\"keys\":[\u{0}]}"];
    for text in junk {
        assert_eq!(KeySet::of_jwks(text.as_bytes()).err(), Some(KeyError::NotASet), "{text}");
    }
    let nested = format!("{}{}", r#"{"keys":"#, "[".repeat(100_000));
    assert_eq!(KeySet::of_jwks(nested.as_bytes()).err(), Some(KeyError::NotASet));
    assert_eq!(set(&[]).err(), Some(KeyError::NoneUsable));
    assert_eq!(set(&vec![json!({}); MAX_KEYS + 1]).err(), Some(KeyError::TooMany));
}
