use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::testing;

const NOW_S: u64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW_S * 1000)
}

fn auth(args: &[&str]) -> Auth {
    Auth::new(&testing::settings(args)).unwrap()
}

fn signed(algorithm: Algorithm, claims: &Value) -> String {
    let key = EncodingKey::from_secret(testing::SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

fn verified(claims: &Value) -> Result<Claims, AuthError> {
    auth(&[]).verify(&signed(Algorithm::HS256, claims), now())
}

/// A token of these parts, the signature as it is given.
fn raw(header: &str, claims: &str, signature: &str) -> String {
    format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

#[test]
fn a_good_token_names_its_user() {
    let claims =
        verified(&json!({"sub": "alice", "exp": NOW_S + 60, "iat": NOW_S - 5, "other": [1]})).unwrap();
    assert_eq!(
        claims,
        Claims {
            user: Some(UserId::new("alice").unwrap()),
            service: false,
            expires_at: Timestamp::from_millis((NOW_S + 60) * 1000),
            issued_at: Some(Timestamp::from_millis((NOW_S - 5) * 1000)),
        }
    );
}

#[test]
fn a_token_is_good_until_its_end_and_ten_seconds_more() {
    assert!(verified(&json!({"sub": "a", "exp": NOW_S - 9})).is_ok());
    assert_eq!(verified(&json!({"sub": "a", "exp": NOW_S - 10})), Err(AuthError::Expired));
    let fraction = verified(&json!({"sub": "a", "exp": 1_800_000_000.5})).unwrap();
    assert_eq!(fraction.expires_at.as_millis(), NOW_S * 1000 + 500);
}

#[test]
fn a_token_counts_from_nbf_and_ten_seconds_less() {
    let from = |seconds: u64| verified(&json!({"sub": "a", "exp": NOW_S + 600, "nbf": seconds}));
    assert!(from(NOW_S + 10).is_ok());
    assert_eq!(from(NOW_S + 11), Err(AuthError::NotYetValid));
}

#[test]
fn times_that_are_missing_or_no_times_are_refused() {
    assert_eq!(verified(&json!({"sub": "a"})), Err(AuthError::NoExpiry));
    assert_eq!(verified(&json!({"sub": "a", "exp": null})), Err(AuthError::NoExpiry));
    for exp in [json!("tomorrow"), json!("1800000060"), json!(-5), json!([]), json!(1e300)] {
        assert_eq!(verified(&json!({"sub": "a", "exp": exp})), Err(AuthError::Malformed), "{exp}");
    }
    for claim in ["nbf", "iat"] {
        let claims = json!({"sub": "a", "exp": NOW_S + 60, claim: "soon"});
        assert_eq!(verified(&claims), Err(AuthError::Malformed), "{claim}");
    }
    assert!(verified(&json!({"sub": "a", "exp": u64::MAX})).is_ok());
}

#[test]
fn only_the_keys_own_algorithm_is_taken() {
    let claims = json!({"sub": "a", "exp": NOW_S + 60});
    for other in [Algorithm::HS384, Algorithm::HS512] {
        assert_eq!(auth(&[]).verify(&signed(other, &claims), now()), Err(AuthError::Algorithm));
    }
    let good = signed(Algorithm::HS256, &claims);
    let signature = good.rsplit('.').next().unwrap();
    for (header, expected) in [
        (r#"{"alg":"none"}"#, AuthError::Malformed),
        (r#"{"alg":"None"}"#, AuthError::Malformed),
        (r#"{"alg":""}"#, AuthError::Malformed),
        (r#"{"typ":"JWT"}"#, AuthError::Malformed),
        (r#"{"alg":"RS256"}"#, AuthError::Algorithm),
        (r#"{"alg":"ES256"}"#, AuthError::Algorithm),
        (r#"{"alg":"HS256","crit":["exp"]}"#, AuthError::Malformed),
        (r#"{"alg":"HS256"}"#, AuthError::Signature),
    ] {
        for signature in ["", signature] {
            let token = raw(header, &claims.to_string(), signature);
            assert_eq!(auth(&[]).verify(&token, now()), Err(expected), "{header}");
        }
    }
}

#[test]
fn another_secret_or_another_payload_is_refused() {
    let claims = json!({"sub": "a", "exp": NOW_S + 60});
    let other =
        jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(b"another")).unwrap();
    assert_eq!(auth(&[]).verify(&other, now()), Err(AuthError::Signature));

    let good = signed(Algorithm::HS256, &claims);
    let parts: Vec<_> = good.split('.').collect();
    let forged = json!({"sub": "b", "exp": NOW_S + 60}).to_string();
    let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(forged), parts[2]);
    assert_eq!(auth(&[]).verify(&forged, now()), Err(AuthError::Signature));
}

#[test]
fn junk_is_no_token() {
    assert_eq!(auth(&[]).verify("", now()), Err(AuthError::Missing));
    for junk in ["abc", "a.b", "..", "a.b.c", "a.b.c.d", "%zz", "é.é.é", "\0"] {
        assert_eq!(auth(&[]).verify(junk, now()), Err(AuthError::Malformed), "{junk}");
    }
    for claims in [json!([]), json!("text"), json!(null), json!(5)] {
        assert_eq!(verified(&claims), Err(AuthError::Malformed), "{claims}");
    }
}

#[test]
fn a_huge_token_is_refused_before_it_is_read() {
    let claims = json!({"sub": "a", "exp": NOW_S + 60, "pad": "x".repeat(100 * 1024)});
    assert_eq!(verified(&claims), Err(AuthError::TooLong));
    let fits = json!({"sub": "a", "exp": NOW_S + 60, "pad": "x".repeat(11 * 1024)});
    assert!(verified(&fits).is_ok());
}

#[test]
fn a_user_has_a_valid_id() {
    for bad in [json!(""), json!("a b"), json!("toString"), json!("x".repeat(65)), json!(7), json!(null)] {
        assert_eq!(verified(&json!({"sub": bad, "exp": NOW_S + 60})), Err(AuthError::User), "{bad}");
    }
    assert_eq!(verified(&json!({"exp": NOW_S + 60})), Err(AuthError::User));
}

#[test]
fn a_service_need_not_name_a_user() {
    let with_scope = |scope: Value| verified(&json!({"exp": NOW_S + 60, "scope": scope}));
    let service = with_scope(json!("read service write")).unwrap();
    assert_eq!((service.service, service.user), (true, None));
    for scope in [json!("services"), json!("Service"), json!(""), json!(["service"]), json!(true)] {
        assert_eq!(with_scope(scope.clone()), Err(AuthError::User), "{scope}");
    }
    let both = verified(&json!({"sub": "bot", "exp": NOW_S + 60, "scope": "service"})).unwrap();
    assert_eq!((both.service, both.user.unwrap().as_str()), (true, "bot"));
    let bad = json!({"sub": "a/b", "exp": NOW_S + 60, "scope": "service"});
    assert_eq!(verified(&bad), Err(AuthError::User));
}

#[test]
fn issuer_audience_claim_and_scope_follow_the_settings() {
    let auth = auth(&[
        "--jwt-issuer=us",
        "--jwt-audience=chat",
        "--jwt-user-claim=uid",
        "--jwt-service-scope=backend",
    ]);
    let verify = |claims: Value| auth.verify(&signed(Algorithm::HS256, &claims), now());
    let exp = NOW_S + 60;
    let good =
        verify(json!({"uid": "a", "sub": "x/y", "exp": exp, "iss": "us", "aud": ["web", "chat"]})).unwrap();
    assert_eq!((good.service, good.user.unwrap().as_str()), (false, "a"));
    assert!(verify(json!({"scope": "backend", "exp": exp, "iss": "us", "aud": "chat"})).unwrap().service);
    for iss in [json!(null), json!("them"), json!(["us"])] {
        let claims = json!({"uid": "a", "exp": exp, "iss": iss, "aud": "chat"});
        assert_eq!(verify(claims), Err(AuthError::Issuer), "{iss}");
    }
    for aud in [json!(null), json!("web"), json!([]), json!(["web"]), json!({"chat": 1})] {
        let claims = json!({"uid": "a", "exp": exp, "iss": "us", "aud": aud});
        assert_eq!(verify(claims), Err(AuthError::Audience), "{aud}");
    }
}

#[test]
fn an_audience_that_nobody_configured_is_not_checked() {
    assert!(verified(&json!({"sub": "a", "exp": NOW_S + 60, "aud": "any", "iss": "any"})).is_ok());
}

#[test]
fn what_a_public_key_signed_is_held_to_the_same_rules() {
    let folder = tempfile::tempdir().unwrap();
    for signer in [signers::Signer::rs256(), signers::Signer::es256(), signers::Signer::ed25519()] {
        let path = folder.path().join("key.pem");
        fs::write(&path, &signer.public_pem).unwrap();
        let auth = auth(&[
            &format!("--jwt-public-key={}", path.display()),
            "--jwt-issuer=us",
            "--jwt-audience=chat",
        ]);
        let verify = |changes: Value| {
            let mut claims = json!({"sub": "alice", "exp": NOW_S + 60, "iss": "us", "aud": "chat"});
            claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            auth.verify(&signer.token(None, &claims), now()).map(|claims| claims.user.unwrap().to_string())
        };
        assert_eq!(verify(json!({})), Ok("alice".to_owned()));
        assert_eq!(verify(json!({"exp": null})), Err(AuthError::NoExpiry));
        assert_eq!(verify(json!({"exp": NOW_S - 10})), Err(AuthError::Expired));
        assert_eq!(verify(json!({"nbf": NOW_S + 11})), Err(AuthError::NotYetValid));
        assert_eq!(verify(json!({"iss": "them"})), Err(AuthError::Issuer));
        assert_eq!(verify(json!({"aud": "web"})), Err(AuthError::Audience));
        assert_eq!(verify(json!({"pad": "x".repeat(100 * 1024)})), Err(AuthError::TooLong));
        let shared = testing::token(&json!({"sub": "alice", "exp": NOW_S + 60, "iss": "us", "aud": "chat"}));
        assert_eq!(auth.verify(&shared, now()), Err(AuthError::Algorithm));
    }
}
