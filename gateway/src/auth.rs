//! Who a token stands for (contract section 2).
//!
//! jsonwebtoken checks the signature and the algorithm; everything that depends on time or on settings is checked here,
//! against the time that is passed in.

use std::{fs, sync::Arc, time::Duration};

use jsonwebtoken::errors::ErrorKind;
use serde_json::{Map, Value};
use simurgh_env::Env;
use simurgh_protocol::{
    Reason, Refusal, Timestamp, UserId,
    envelope::{Presented, Principal},
    limits,
};
use simurgh_service::config::BadSetting;

use crate::config::{Settings, Tokens};

mod fetch;
mod keys;
mod offered;
mod remote;
#[cfg(test)]
pub(crate) mod signers;

use keys::KeySet;
pub use offered::{Offered, bearer, offered};
pub use remote::Remote;

/// How far clocks may be apart (contract section 2).
pub const LEEWAY: Duration = Duration::from_secs(10);

/// Bytes of a token. Longer ones are refused before any work is done on them. A request's head has to hold it, too.
pub const MAX_TOKEN_BYTES: usize = limits::TOKEN_BYTES;

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user whom it names. Always there unless it is a service's.
    pub user: Option<UserId>,
    /// Whether it is a back-end service's, which may act for any user.
    pub service: bool,
    /// When it ends; [`LEEWAY`] later it is refused.
    pub expires_at: Timestamp,
    /// When it was issued, where it says so.
    pub issued_at: Option<Timestamp>,
}

impl Claims {
    /// For whom it speaks where services' tokens are taken (`services`), or are not.
    ///
    /// # Errors
    /// `forbidden` where it is a service's and those are not taken, `unauthorized` where it names nobody.
    pub fn principal(&self, services: bool) -> Result<Principal, Refusal> {
        match &self.user {
            _ if self.service && !services => {
                let message = "a service's token is taken on the internal listener only";
                Err(Refusal::new(Reason::Forbidden, message))
            }
            _ if self.service => Ok(Principal::Service),
            Some(user) => Ok(Principal::User(user.clone())),
            None => Err(Refusal::new(Reason::Unauthorized, "the token names no user")),
        }
    }

    /// What workers look at: whether the token was revoked. Nothing where it names no user.
    #[must_use]
    pub fn presented(&self) -> Option<Presented> {
        Some(Presented { user: self.user.clone()?, issued_at: self.issued_at })
    }
}

/// Why a token is refused. Never holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is none.
    #[error("a token is required")]
    Missing,
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64, or not JSON with claims of the types that RFC 7519 gives them.
    #[error("not a token")]
    Malformed,
    /// Signed by another algorithm than the configured key's, or not at all.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// Signed by another key.
    #[error("the token's signature is not valid")]
    Signature,
    /// Its `kid` is none of the issuer's keys.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The issuer's keys could not be fetched yet, which says nothing of the token.
    #[error("no token can be verified yet")]
    NoKeys,
    /// It has no `exp`.
    #[error("the token never expires")]
    NoExpiry,
    /// It ended.
    #[error("the token has expired")]
    Expired,
    /// Its `nbf` is to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Its `iss` is not the configured one.
    #[error("the token is from another issuer")]
    Issuer,
    /// Its `aud` is not, and does not contain, the configured one.
    #[error("the token is for another audience")]
    Audience,
    /// What should be a user's id is not one, or there is none and it is no service's token.
    #[error("the token names no user")]
    User,
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        let reason = match error {
            AuthError::NoKeys => Reason::Unavailable,
            _ => Reason::Unauthorized,
        };
        Self::new(reason, error.to_string())
    }
}

/// Verifies tokens.
pub struct Auth {
    keys: Keys,
    issuer: Option<String>,
    audience: Option<String>,
    user_claim: String,
    service_scope: String,
}

/// The keys that tokens may be signed with.
pub(crate) enum Keys {
    /// Those that were configured.
    Given(KeySet),
    /// Those that an issuer publishes.
    Published(Arc<Remote>),
}

impl Keys {
    /// The one source that is configured. Files are read; nobody is asked for anything yet.
    ///
    /// # Errors
    /// [`BadSetting`] where there is none, more than one, or one that cannot be used.
    pub(crate) fn of(tokens: &Tokens) -> Result<Self, BadSetting> {
        let url = tokens.jwks_url.as_deref().filter(|url| !url.is_empty());
        let (secret, file) = (tokens.jwt_secret.as_ref(), tokens.jwt_public_key.as_ref());
        match (secret, file, url) {
            (Some(secret), None, None) if secret.is_empty() => {
                Err(BadSetting::new("SIMURGH_JWT_SECRET", "must not be empty"))
            }
            (Some(secret), None, None) => Ok(Self::Given(KeySet::of_secret(secret.reveal().as_bytes()))),
            (None, Some(file), None) => {
                let bad = |problem: String| BadSetting::new("SIMURGH_JWT_PUBLIC_KEY", problem);
                let pem = fs::read(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
                KeySet::of_pem(&pem).map(Self::Given).map_err(|error| bad(error.to_string()))
            }
            (None, None, Some(url)) => Ok(Self::Published(Arc::new(Remote::new(url)?))),
            (None, None, None) => Err(BadSetting::new(
                "SIMURGH_JWT_SECRET",
                "or SIMURGH_JWT_PUBLIC_KEY or SIMURGH_JWKS_URL is required: no token could be verified",
            )),
            _ => Err(BadSetting::new(
                if url.is_some() { "SIMURGH_JWKS_URL" } else { "SIMURGH_JWT_PUBLIC_KEY" },
                "is one of several kinds of key: tokens are signed in one way, so give one",
            )),
        }
    }
}

impl Auth {
    /// # Errors
    /// [`BadSetting`] where there is no usable key.
    pub fn new(settings: &Settings) -> Result<Self, BadSetting> {
        let tokens = &settings.tokens;
        // A variable that is set to nothing counts as not set.
        let configured = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(Self {
            keys: Keys::of(tokens)?,
            issuer: configured(&tokens.jwt_issuer),
            audience: configured(&tokens.jwt_audience),
            user_claim: tokens.jwt_user_claim.clone(),
            service_scope: tokens.jwt_service_scope.clone(),
        })
    }

    /// The issuer's keys, where they are published: somebody has to look after them.
    #[must_use]
    pub fn published(&self) -> Option<Arc<Remote>> {
        match &self.keys {
            Keys::Published(remote) => Some(Arc::clone(remote)),
            Keys::Given(_) => None,
        }
    }

    /// Who this token stands for now. Where its key is not known, the issuer is asked for new ones first.
    ///
    /// # Errors
    /// [`AuthError`] where it is refused.
    pub async fn authenticate(&self, token: &str, env: &Env) -> Result<Claims, AuthError> {
        let outcome = self.verify(token, env.now());
        match (&self.keys, &outcome) {
            (Keys::Published(remote), Err(AuthError::UnknownKey)) => {
                if remote.look_again(env.instant()).await {
                    return self.verify(token, env.now());
                }
                outcome
            }
            _ => outcome,
        }
    }

    /// Who this token stands for at `now`, by the keys that are there.
    ///
    /// # Errors
    /// [`AuthError`] where it is refused.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::TooLong);
        }
        let claims = self.signed_claims(token)?;
        let expires_at = time(&claims, "exp")?.ok_or(AuthError::NoExpiry)?;
        if expires_at.plus(LEEWAY) <= now {
            return Err(AuthError::Expired);
        }
        if time(&claims, "nbf")?.is_some_and(|not_before| not_before > now.plus(LEEWAY)) {
            return Err(AuthError::NotYetValid);
        }
        let issued_at = time(&claims, "iat")?;
        self.check_parties(&claims)?;
        let service = claims
            .get("scope")
            .and_then(Value::as_str)
            .is_some_and(|scope| scope.split(' ').any(|word| word == self.service_scope));
        let user = match claims.get(&self.user_claim) {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(UserId::new(id).map_err(|_| AuthError::User)?),
            Some(_) => return Err(AuthError::User),
        };
        if user.is_none() && !service {
            return Err(AuthError::User);
        }
        Ok(Claims { user, service, expires_at, issued_at })
    }

    /// The claims, once the signature is known to be good.
    fn signed_claims(&self, token: &str) -> Result<Map<String, Value>, AuthError> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| unreadable(error.kind()))?;
        // RFC 7515, section 4.1.11: who does not understand what is critical must not accept it.
        if header.crit.is_some() {
            return Err(AuthError::Malformed);
        }
        match &self.keys {
            Keys::Given(keys) => keys.claims(token, &header),
            Keys::Published(remote) => remote.keys().ok_or(AuthError::NoKeys)?.claims(token, &header),
        }
    }

    fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), AuthError> {
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(AuthError::Issuer);
        }
        if let Some(audience) = &self.audience {
            let is_it = |value: &Value| value.as_str() == Some(audience);
            let named = match claims.get("aud") {
                Some(Value::Array(several)) => several.iter().any(is_it),
                Some(one) => is_it(one),
                None => false,
            };
            if !named {
                return Err(AuthError::Audience);
            }
        }
        Ok(())
    }
}

/// A claim of RFC 7519's type `NumericDate`: seconds since 1970, perhaps with a fraction.
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<Timestamp>, AuthError> {
    let value = match claims.get(claim) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let duration = match value.as_u64() {
        Some(seconds) => Duration::from_secs(seconds),
        None => {
            let seconds = value.as_f64().ok_or(AuthError::Malformed)?;
            Duration::try_from_secs_f64(seconds).map_err(|_| AuthError::Malformed)?
        }
    };
    Ok(Some(Timestamp::default().plus(duration)))
}

/// What jsonwebtoken's errors mean here.
fn unreadable(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::InvalidSignature => AuthError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            AuthError::Algorithm
        }
        _ => AuthError::Malformed,
    }
}

#[cfg(test)]
mod tests;
