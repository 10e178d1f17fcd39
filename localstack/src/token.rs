//! Tokens for trying things out. In production whoever signs users in signs them.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};
use simurgh_protocol::{Timestamp, UserId};
use simurgh_service::Secret;

/// What tokens are signed with, and what they must hold for the gateway to take them.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The secret of HS256.
    pub secret: Secret,
    /// The claim that holds the user's id.
    pub user_claim: String,
    /// The word in `scope` that makes a back-end service's token.
    pub service_scope: String,
    /// `iss`, where gateways check it.
    pub issuer: Option<String>,
    /// `aud`, where gateways check it.
    pub audience: Option<String>,
}

impl Signer {
    /// A token of `user` that is good from `now` for `ttl`; with `service`, one of a back-end service as well.
    ///
    /// # Errors
    /// Where the token cannot be written.
    pub fn token(
        &self,
        user: &UserId,
        service: bool,
        ttl: Duration,
        now: Timestamp,
    ) -> anyhow::Result<String> {
        let mut claims = Map::new();
        claims.insert("iat".to_owned(), now.as_secs().into());
        claims.insert("exp".to_owned(), now.plus(ttl).as_secs().into());
        for (claim, value) in [("iss", &self.issuer), ("aud", &self.audience)] {
            if let Some(value) = value {
                claims.insert(claim.to_owned(), value.clone().into());
            }
        }
        if service {
            claims.insert("scope".to_owned(), self.service_scope.clone().into());
        }
        claims.insert(self.user_claim.clone(), user.as_str().into());
        let key = EncodingKey::from_secret(self.secret.reveal().as_bytes());
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &Value::Object(claims), &key)?)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    fn claims(signer: &Signer, service: bool) -> Value {
        let (user, now) = (UserId::new("dave").unwrap(), Timestamp::from_millis(1_000_999));
        let token = signer.token(&user, service, Duration::from_secs(3600), now).unwrap();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        let key = DecodingKey::from_secret(signer.secret.reveal().as_bytes());
        jsonwebtoken::decode(&token, &key, &validation).unwrap().claims
    }

    fn signer() -> Signer {
        Signer {
            secret: Secret::new("dev-secret"),
            user_claim: "sub".to_owned(),
            service_scope: "service".to_owned(),
            issuer: None,
            audience: None,
        }
    }

    #[test]
    fn a_token_names_its_user_and_its_end() {
        assert_eq!(claims(&signer(), false), serde_json::json!({"sub": "dave", "iat": 1000, "exp": 4600}));
    }

    #[test]
    fn a_token_holds_what_the_gateway_is_set_to_check() {
        let signer = Signer {
            user_claim: "uid".to_owned(),
            service_scope: "backend".to_owned(),
            issuer: Some("me".to_owned()),
            audience: Some("you".to_owned()),
            ..signer()
        };
        let wanted = serde_json::json!({"uid": "dave", "iat": 1000, "exp": 4600, "iss": "me", "aud": "you", "scope": "backend"});
        assert_eq!(claims(&signer, true), wanted);
    }
}
