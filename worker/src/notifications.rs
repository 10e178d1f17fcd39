//! A service's notice to one user. Told to whoever listens now, and stored nowhere.

use serde::{Deserialize, Serialize};
use serde_json::json;
use simurgh_protocol::{
    Raw, Refusal, Timestamp, UserId,
    envelope::Success,
    event::sent,
    limits::{
        NOTIFICATION_BODY_CHARS as BODY_CHARS, NOTIFICATION_KIND_CHARS as KIND_CHARS,
        NOTIFICATION_TITLE_CHARS as TITLE_CHARS,
    },
};
use uuid::Uuid;

use crate::{Limits, Request, Worker, validate};

#[derive(Deserialize)]
struct Body {
    kind: String,
    title: String,
    body: String,
    data: Option<Raw>,
}

/// The payload of `notification`.
#[derive(Debug, Serialize)]
struct Notification {
    id: Uuid,
    kind: String,
    title: String,
    body: String,
    data: Raw,
    at: Timestamp,
}

/// Reads the body. `data` is an object as large as metadata may be; `{}` where there is none.
///
/// # Errors
/// `validation_failed`, or `message_too_large` for the data.
fn read(id: Uuid, body: &Raw, limits: &Limits, at: Timestamp) -> Result<Notification, Refusal> {
    let Body { kind, title, body, data } = validate::parse(body)?;
    if !(1..=KIND_CHARS).contains(&kind.chars().count()) {
        return Err(Refusal::invalid("kind", format!("must have 1 to {KIND_CHARS} characters")));
    }
    let texts = [("title", &title, TITLE_CHARS), ("body", &body, BODY_CHARS)];
    for (field, text, most) in texts {
        if text.chars().count() > most {
            return Err(Refusal::invalid(field, format!("must have at most {most} characters")));
        }
    }
    let data = validate::object("data", data.as_ref(), limits.metadata_bytes)?;
    Ok(Notification { id, kind, title, body, data, at })
}

impl Worker {
    /// `POST /api/v1/users/{id}/notifications`: 202 `{id, delivered_to}`, for services. The id is the same for all
    /// attempts of one request, so that a client can drop what it gets twice.
    ///
    /// # Errors
    /// `unavailable` where it could not be found out who listens: nobody may have been told.
    pub(crate) async fn notify(
        &self,
        request: &Request,
        user: &UserId,
        body: &Raw,
    ) -> Result<Success, Refusal> {
        request.service_only()?;
        let notification = read(request.id, body, &self.limits, self.env.now())?;
        let user = std::slice::from_ref(user);
        let told = self.reach_users(user, sent::NOTIFICATION, &Raw::of(&notification)).await;
        let delivered_to = told.map_err(|error| {
            tracing::debug!(%error, "a notification was not sent");
            Refusal::unavailable("the user could not be reached now")
        })?;
        let response = json!({ "id": request.id, "delivered_to": delivered_to });
        Ok(Success { status: 202, ..Success::ok(&response) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use simurgh_protocol::Reason;

    use super::*;

    fn reading(change: impl FnOnce(&mut Value)) -> Result<Notification, Refusal> {
        let mut body = json!({"kind": "order", "title": "Shipped", "body": "It is on its way"});
        change(&mut body);
        super::read(Uuid::nil(), &Raw::of(&body), &Limits::default(), Timestamp::default())
    }

    fn field(outcome: Result<Notification, Refusal>) -> String {
        let refusal = outcome.unwrap_err();
        assert_eq!(refusal.reason, Reason::ValidationFailed);
        refusal.details["errors"].as_object().unwrap().keys().next().unwrap().clone()
    }

    #[test]
    fn data_is_an_object_and_may_be_left_out() {
        assert_eq!(reading(|_| ()).unwrap().data.get(), "{}");
        assert_eq!(reading(|body| body["data"] = json!({"n": 1})).unwrap().data.get(), r#"{"n":1}"#);
        assert_eq!(field(reading(|body| body["data"] = json!([]))), "data");
        let large = reading(|body| body["data"] = json!({"n": "x".repeat(9_000)}));
        assert_eq!(large.unwrap_err().reason, Reason::MessageTooLarge);
    }

    #[test]
    fn texts_are_bounded_in_characters() {
        assert!(reading(|body| body["title"] = json!("é".repeat(256))).is_ok());
        assert_eq!(field(reading(|body| body["title"] = json!("é".repeat(257)))), "title");
        assert_eq!(field(reading(|body| body["body"] = json!("x".repeat(4097)))), "body");
        assert_eq!(field(reading(|body| body["kind"] = json!(""))), "kind");
        assert_eq!(field(reading(|body| body["kind"] = json!("x".repeat(65)))), "kind");
        assert_eq!(field(reading(|body| body["title"] = Value::Null)), "title");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_notifies_all_connections_of_a_user_and_users_may_not() {
        use simurgh_protocol::envelope::Call;

        use crate::fixture::{World, reason, user};

        let mut world = World::new().await;
        world.connect("alice", &["a1", "a2"], None).await;
        let body = json!({"kind": "order", "title": "Shipped", "body": "On its way", "data": {"n": 1}});
        let notify = |who: &str| Call::Notify { user: user(who), body: Raw::of(&body) };
        let at = world.worker.env.now();
        let (status, response) = world.call("service", notify("alice")).await.unwrap();
        assert_eq!((status, &response["delivered_to"]), (202, &json!(2)));
        let heard = world.heard();
        assert_eq!((heard.len(), heard[0].event.as_str()), (1, "notification"));
        let mut expected = body.clone();
        expected["id"] = response["id"].clone();
        expected["at"] = json!(at);
        assert_eq!(heard[0].payload, expected);
        assert_eq!(world.call("service", notify("bob")).await.unwrap().1["delivered_to"], 0);
        assert_eq!(reason(world.call("alice", notify("alice")).await), "forbidden");
        world.bus.disconnect();
        assert_eq!(
            reason(world.call("service", notify("alice")).await),
            "unavailable",
            "not: told to nobody"
        );
    }
}
