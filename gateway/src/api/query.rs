//! Queries.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use axum::extract::FromRequestParts;
use http::request::Parts;
use simurgh_protocol::{
    Refusal, UserId,
    envelope::HistoryPage,
    limits::{self, CURSOR_BYTES, SEQ_MAX},
};
use utoipa::openapi::path::Parameter;

use super::{
    Context,
    calls::{Accepts, optional},
    schema::refer,
};

/// The parameter that [`Query::user`] reads.
pub(super) fn for_user() -> Parameter {
    optional("user_id", "For whom: required of a service, and oneself of a user.", refer("UserId"))
}

/// Whether a query has only parameters that the call has, and none twice. One that is misspelt would otherwise be as
/// good as absent, and whoever pages by it begin again and again.
///
/// # Errors
/// `validation_failed` naming the parameter.
pub(super) fn check_names(query: &str, accepts: Option<&Accepts>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        if !accepts.is_some_and(|Accepts(names)| names.iter().any(|known| *known == name)) {
            let shown: String = name.chars().take(NAME_CHARS).collect();
            return Err(Refusal::invalid(&shown, "is not a parameter of this call"));
        }
        if seen.contains(&name) {
            return Err(Refusal::invalid(&name, "must not be given twice"));
        }
        seen.insert(name);
    }
    Ok(())
}

/// Characters of an unknown parameter's name in an answer.
const NAME_CHARS: usize = 64;

/// The parameters of a query, decoded; [`check_names`] was there before.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

impl FromRequestParts<Context> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _context: &Context) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let number = |text: &String| {
            // `parse` alone would take a sign.
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let parsed = text.parse().ok().filter(|_| digits);
            parsed.ok_or_else(|| Refusal::invalid(name, "must be a whole number"))
        };
        self.0.get(name).map(number).transpose()
    }

    fn position(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let position = self.number(name)?;
        match position {
            Some(position) if position > SEQ_MAX => {
                Err(Refusal::invalid(name, format!("must be at most {SEQ_MAX}")))
            }
            _ => Ok(position),
        }
    }

    /// `limit`: from 1 to the first of these, the second when absent.
    pub(super) fn limit(&self, (most, default): (usize, usize)) -> Result<usize, Refusal> {
        let Some(limit) = self.number("limit")? else { return Ok(default) };
        usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| Refusal::invalid("limit", format!("must be from 1 to {most}")))
    }

    /// A cursor of an earlier answer; an empty one is none.
    pub(super) fn cursor(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(cursor) if cursor.is_empty() => Ok(None),
            Some(cursor) if cursor.len() > CURSOR_BYTES => {
                Err(Refusal::invalid(name, "is not a cursor of this API"))
            }
            Some(cursor) => Ok(Some(cursor.clone())),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        let flag = |text: &String| text.parse().map_err(|_| Refusal::invalid(name, "must be true or false"));
        self.0.get(name).map(flag).transpose()
    }

    /// `user_id`: for whom a service asks.
    pub(super) fn user(&self) -> Result<Option<UserId>, Refusal> {
        let user =
            |id: &String| UserId::new(id).map_err(|invalid| Refusal::invalid("user_id", invalid.to_string()));
        self.0.get("user_id").map(user).transpose()
    }

    /// A page of history.
    pub(super) fn history(&self) -> Result<HistoryPage, Refusal> {
        let page = HistoryPage {
            before_seq: self.position("before_seq")?,
            after_seq: self.position("after_seq")?,
            limit: self.limit(limits::HISTORY_PAGE)?,
            since: self.cursor("since")?,
        };
        if page.before_seq.is_some() && page.after_seq.is_some() {
            return Err(Refusal::invalid("before_seq", "cannot be given together with after_seq"));
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<T>(outcome: Result<T, Refusal>) -> String {
        match outcome {
            Ok(_) => panic!("it was taken"),
            Err(refusal) => refusal.details["errors"].to_string(),
        }
    }

    #[test]
    fn a_page_of_history_has_bounds() {
        let page = Query::parse("before_seq=7&limit=200&since=x%3D%3D").history().unwrap();
        assert_eq!((page.before_seq, page.after_seq, page.limit), (Some(7), None, 200));
        assert_eq!(page.since.as_deref(), Some("x=="));
        let page = Query::parse("after_seq=0&since=").history().unwrap();
        assert_eq!((page.before_seq, page.after_seq, page.limit, page.since), (None, Some(0), 50, None));
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let history = |query: &str| problem(Query::parse(query).history());
        for query in [
            "limit=0",
            "limit=201",
            "limit=",
            "limit=-1",
            "limit=%2B5",
            "limit=5.0",
            "limit=x",
            "limit=99999999999999999999",
        ] {
            assert!(history(query).starts_with(r#"{"limit":["must be"#), "{query}");
        }
        assert_eq!(history("before_seq=x"), r#"{"before_seq":["must be a whole number"]}"#);
        assert_eq!(history("after_seq=-1"), r#"{"after_seq":["must be a whole number"]}"#);
        assert_eq!(
            history("before_seq=1&after_seq=1"),
            r#"{"before_seq":["cannot be given together with after_seq"]}"#
        );
        assert_eq!(
            history(&format!("since={}", "x".repeat(600))),
            r#"{"since":["is not a cursor of this API"]}"#
        );
        assert_eq!(
            problem(Query::parse("for_everyone=1").flag("for_everyone")),
            r#"{"for_everyone":["must be true or false"]}"#
        );
        assert!(problem(Query::parse("user_id=a/b").user()).starts_with(r#"{"user_id":"#));
    }

    #[test]
    fn a_call_takes_its_own_parameters_and_each_once() {
        let accepts = Accepts(["limit".to_owned(), "since".to_owned()].into());
        let named = |query: &str| check_names(query, Some(&accepts));
        for query in ["", "limit=1", "limit=1&since=", "&&since"] {
            assert_eq!(named(query), Ok(()), "{query}");
        }
        assert_eq!(problem(named("limit=1&limit=1")), r#"{"limit":["must not be given twice"]}"#);
        assert_eq!(problem(named("since&l%69mit=1&limit=2")), r#"{"limit":["must not be given twice"]}"#);
        assert_eq!(problem(named("after=1")), r#"{"after":["is not a parameter of this call"]}"#);
        assert_eq!(problem(named("Limit=1")), r#"{"Limit":["is not a parameter of this call"]}"#);
        assert!(problem(named(&"x".repeat(9_000))).len() < 200, "what was sent does not come back at length");
        assert!(check_names("limit=1", None).is_err());
        assert_eq!(check_names("", None), Ok(()));
    }

    #[test]
    fn a_position_beyond_every_log_is_refused() {
        assert_eq!(Query::parse("after_seq=9007199254740992").history().unwrap().after_seq, Some(1 << 53));
        let beyond = problem(Query::parse("after_seq=9007199254740993").history());
        assert_eq!(beyond, r#"{"after_seq":["must be at most 9007199254740992"]}"#);
    }
}
