use std::time::Duration;

use hyper_util::rt::TokioIo;
use prost_types::{Struct, Value as Protobuf, value::Kind};
use serde_json::{Value, json};
use simurgh_protocol::{
    ConversationId, Raw, Reason, Refusal, UserId,
    envelope::{self, Call, ConversationEnvelope, ConversationEvent, Logged, LoggedChange, Principal},
};
use simurgh_rpc::v1::{
    self, Event, event::Payload, messaging_client::MessagingClient, subscribe_request::Target,
};
use tonic::{
    Code, Request, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::testing::{self, Served};

const MESSAGE: &str = "01932f00-0000-8000-8000-000000000001";
const ID: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";

/// A connection to the internal listener.
async fn channel(served: &Served) -> Channel {
    let connector = served.internal.clone();
    let connect = tower::service_fn(move |_: http::Uri| {
        let connector = connector.clone();
        async move { connector.connect().await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://simurgh").connect_with_connector(connect).await.unwrap()
}

async fn client(served: &Served) -> MessagingClient<Channel> {
    MessagingClient::new(channel(served).await)
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test(start_paused = true)]
async fn calls_reach_a_worker_as_those_of_the_http_api() {
    let served = Served::new(&[]).await;
    let asked = testing::worker(&served, |_| Ok((200, json!({"id": "made"})))).await;
    let (mut client, token) = (client(&served).await, testing::service_token(&served.env));
    let command = || asked.lock().unwrap().pop().unwrap();

    let number = Protobuf { kind: Some(Kind::NumberValue(5.0)) };
    let metadata = Some(Struct { fields: [("n".to_owned(), number)].into() });
    let create = v1::CreateConversationRequest {
        r#type: "group".to_owned(),
        member_ids: vec!["alice".to_owned()],
        metadata,
        ..Default::default()
    };
    let made = client.create_conversation(with(&token, create)).await.unwrap().into_inner();
    assert_eq!((made.conversation.unwrap().id.as_str(), made.existed), ("made", true));
    let command_ = command();
    assert!(matches!(command_.principal, Principal::Service));
    let body = json!({"type": "group", "member_ids": ["alice"], "metadata": {"n": 5}});
    let call = serde_json::to_value(&command_.call).unwrap();
    assert_eq!(call, json!({"create_conversation": {"policy": "users", "body": body}}));

    let send = v1::SendMessageRequest {
        conversation_id: ID.to_owned(),
        sender_id: Some("alice".to_owned()),
        content: "é".to_owned(),
        client_random: "r".to_owned(),
        ..Default::default()
    };
    client.send_message(with(&token, send)).await.unwrap();
    let body = json!({"sender_id": "alice", "message_type": "text", "content": "é", "client_random": "r"});
    let call = serde_json::to_value(&command().call).unwrap();
    assert_eq!(call, json!({"post_message": {"conversation": ID, "body": body}}));

    let page =
        v1::ListMessagesRequest { conversation_id: ID.to_owned(), after_seq: Some(5), ..Default::default() };
    client.list_messages(with(&token, page)).await.unwrap();
    let page = json!({"before_seq": null, "after_seq": 5, "limit": 50, "since": null});
    let call = serde_json::to_value(&command().call).unwrap();
    assert_eq!(call, json!({"history": {"conversation": ID, "page": page}}));

    let (conversation_id, message_id) = (ID.to_owned(), MESSAGE.to_owned());
    let edit = v1::EditMessageRequest {
        conversation_id: conversation_id.clone(),
        message_id: message_id.clone(),
        sender_id: Some("alice".to_owned()),
        content: "now".to_owned(),
        ..Default::default()
    };
    client.edit_message(with(&token, edit)).await.unwrap();
    let body = json!({"content": "now", "sender_id": "alice"});
    let call = serde_json::to_value(&command().call).unwrap();
    assert_eq!(call, json!({"edit_message": {"conversation": ID, "message": MESSAGE, "body": body}}));
    for for_me in [false, true] {
        let (conversation_id, message_id) = (conversation_id.clone(), message_id.clone());
        let delete = v1::DeleteMessageRequest { conversation_id, message_id, for_me };
        client.delete_message(with(&token, delete)).await.unwrap();
        let call = serde_json::to_value(&command().call).unwrap();
        let wanted = json!({"conversation": ID, "message": MESSAGE, "for_everyone": !for_me});
        assert_eq!(call, json!({"delete_message": wanted}));
    }
    client
        .list_receipts(with(&token, v1::ListReceiptsRequest { conversation_id, message_id }))
        .await
        .unwrap();
    let call = serde_json::to_value(&command().call).unwrap();
    assert_eq!(call, json!({"receipts": {"conversation": ID, "message": MESSAGE}}));
}

#[tokio::test(start_paused = true)]
async fn what_became_of_a_message_is_told_as_by_http() {
    let served = Served::new(&[]).await;
    let at = "2026-01-02T03:04:05.678Z";
    let told = move |command: &envelope::Command| {
        assert_eq!(
            serde_json::to_value(&command.call).unwrap(),
            json!({"delivery": {"conversation": ID, "message": MESSAGE, "user": "bob"}})
        );
        let (verdict, reason) = ("unknown", "gateway_silent");
        let socket = json!({"gateway": "g", "session_id": null, "transport": null, "last_seq": null, "unsent_bytes": null,
            "verdict": verdict, "reason": reason});
        Ok((
            200,
            json!({
                "conversation_id": ID, "message_id": MESSAGE, "user_id": "bob", "stored": {"at": at, "seq": 7}, "deleted": true,
                "hidden": false, "member": {"then": null, "now": true}, "last_read_seq": 0, "last_delivered_seq": null,
                "verdict": verdict, "reason": reason, "sockets": [socket], "gateways": [{"id": "g", "state": "silent"}],
                "partial": true,
            }),
        ))
    };
    testing::worker(&served, told).await;
    let (mut client, token) = (client(&served).await, testing::service_token(&served.env));
    let ask = |user: &str| v1::GetDeliveryRequest {
        conversation_id: ID.to_owned(),
        message_id: MESSAGE.to_owned(),
        user_id: user.to_owned(),
    };
    let found = client.get_delivery(with(&token, ask("bob"))).await.unwrap().into_inner();
    let stored = found.stored.unwrap();
    assert_eq!((stored.at.unwrap().nanos, stored.seq, found.deleted), (678_000_000, 7, true));
    let member = found.member.unwrap();
    assert_eq!((member.then, member.now, found.partial), (None, true, true));
    assert_eq!((found.last_read_seq, found.last_delivered_seq), (Some(0), None));
    let socket = &found.sockets[0];
    assert_eq!((socket.last_seq, socket.reason.as_str()), (None, "gateway_silent"));
    assert_eq!((found.verdict.as_str(), found.gateways[0].state.as_str()), ("unknown", "silent"));
    let nobody = client.get_delivery(with(&token, ask(""))).await.unwrap_err();
    assert_eq!(nobody.get_details_bad_request().unwrap().field_violations[0].field, "user_id");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_says_why() {
    let served = Served::new(&["--max-frame-bytes", "1024"]).await;
    let asked = testing::worker(&served, |_| Err(Refusal::new(Reason::Conflict, "taken"))).await;
    let (mut client, token) = (client(&served).await, testing::service_token(&served.env));
    let get = |id: &str| v1::GetConversationRequest { conversation_id: id.to_owned() };
    let nobody = client.get_conversation(Request::new(get(ID))).await.unwrap_err();
    assert_eq!((nobody.code(), reason(&nobody).as_str()), (Code::Unauthenticated, "unauthorized"));
    let malformed = client.get_conversation(with(&token, get("a/b"))).await.unwrap_err();
    assert_eq!((malformed.code(), reason(&malformed).as_str()), (Code::InvalidArgument, "validation_failed"));
    let page =
        v1::ListMessagesRequest { conversation_id: ID.to_owned(), limit: Some(201), ..Default::default() };
    let too_many = client.list_messages(with(&token, page)).await.unwrap_err();
    assert_eq!(too_many.get_details_bad_request().unwrap().field_violations[0].field, "limit");
    for (bytes, code) in [(1_024, Code::InvalidArgument), (10_000, Code::OutOfRange)] {
        let send = v1::SendMessageRequest {
            conversation_id: ID.to_owned(),
            content: "x".repeat(bytes),
            ..Default::default()
        };
        let large = client.send_message(with(&token, send)).await.unwrap_err();
        assert_eq!(large.code(), code, "{large:?}");
    }
    assert_eq!(asked.lock().unwrap().len(), 0, "nobody was asked");
    let taken = client.get_conversation(with(&token, get(ID))).await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken).as_str()), (Code::FailedPrecondition, "conflict"));
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_honoured() {
    let served = Served::new(&[]).await;
    let asked = testing::worker(&served, |_| Ok((200, json!({})))).await;
    let (mut client, token) = (client(&served).await, testing::service_token(&served.env));
    let mut request = with(&token, v1::GetConversationRequest { conversation_id: ID.to_owned() });
    request.set_timeout(Duration::from_secs(1));
    let now = served.env.now();
    client.get_conversation(request).await.unwrap();
    let until = asked.lock().unwrap().pop().unwrap().deadline;
    assert!(until <= now.plus(Duration::from_millis(1_010)), "a worker may not write later: {until:?}");
}

#[tokio::test(start_paused = true)]
async fn health_needs_no_token_and_says_what_readiness_says() {
    let served = Served::new(&["--drain-delay", "10s"]).await;
    let mut health = HealthClient::new(channel(&served).await);
    for service in ["", "simurgh.v1.Messaging"] {
        let request = || HealthCheckRequest { service: service.to_owned() };
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(health.check(request()).await.unwrap().into_inner().status, 1, "{service}");
    }
    served.shutdown.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let request = HealthCheckRequest { service: String::new() };
    assert_eq!(health.check(request).await.unwrap().into_inner().status, 2);
}

/// A log of so many messages, and reactions to the first of them.
fn log(messages: u64, changes: u64) -> impl Fn(&envelope::Command) -> Result<(u16, Value), Refusal> + Send {
    const PAGE: u64 = 10;
    move |command| {
        let head =
            json!({"conversation": ID, "last_seq": messages, "change_seq": changes, "members_version": 1});
        Ok((
            200,
            match &command.call {
                Call::JoinConversation { .. } => {
                    json!({"head": head, "response": {"conversation": {"id": ID, "type": "group"}}})
                }
                Call::Range { after_seq, after_change, .. } => {
                    let page = |after: u64, to: u64| after + 1..=to.min(after + PAGE);
                    let messages: Vec<_> = page(*after_seq, messages).map(|seq| json!(logged(seq))).collect();
                    let changes: Vec<_> =
                        page(*after_change, changes).map(|seq| json!(changed(seq))).collect();
                    json!({"head": head, "messages": messages, "changes": changes})
                }
                Call::Heads { .. } => json!([head]),
                _ => json!({}),
            },
        ))
    }
}

fn logged(seq: u64) -> Logged {
    Logged::new(seq, Raw::of(&json!({"id": seq.to_string(), "seq": seq, "content": "x".repeat(50)})))
}

fn changed(change_seq: u64) -> LoggedChange {
    let payload = Raw::of(&json!({"message_id": "1", "reaction": change_seq.to_string()}));
    LoggedChange {
        change_seq,
        seq: 1,
        event: "reaction_added".to_owned(),
        payload,
        only: None,
        except: Vec::new(),
    }
}

async fn tell(served: &Served, event: ConversationEvent) {
    let subject = served.subjects.conversation(&ConversationId::new(ID).unwrap());
    let envelope = ConversationEnvelope { members_version: 1, event };
    served.bus.publish(&subject, envelope::encode(&envelope)).await.unwrap();
}

async fn next(events: &mut Streaming<Event>) -> Event {
    events.message().await.unwrap().unwrap()
}

/// The next message's `seq`, or the next change's cursor.
async fn place(events: &mut Streaming<Event>) -> String {
    loop {
        let event = next(events).await;
        match event.payload {
            Some(Payload::NewMessage(message)) => return message.seq.to_string(),
            Some(Payload::Reaction(_)) => return event.change_cursor.unwrap(),
            _ => {}
        }
    }
}

fn conversation(after_seq: Option<u64>, since: Option<&str>) -> v1::SubscribeRequest {
    let target = Some(Target::ConversationId(ID.to_owned()));
    v1::SubscribeRequest { target, after_seq, since: since.map(str::to_owned) }
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_where_it_is_asked_to_and_goes_on_with_what_happens() {
    let served = Served::new(&[]).await;
    let _asked = testing::worker(&served, log(25, 12)).await;
    let (mut client, token) = (client(&served).await, testing::service_token(&served.env));
    let asked = with(&token, conversation(Some(3), Some("c1")));
    let mut events = client.subscribe(asked).await.unwrap().into_inner();
    let first = next(&mut events).await;
    let Some(Payload::Subscribed(subscribed)) = first.payload else { panic!("{first:?}") };
    assert_eq!((subscribed.after_seq, subscribed.since.as_str()), (3, "c1"));
    assert_eq!(subscribed.conversation.unwrap().id, ID);
    let mut places = Vec::new();
    for _ in 0..(25 - 3) + (12 - 1) {
        places.push(place(&mut events).await);
    }
    let (changes, messages): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| place.starts_with('c'));
    assert_eq!(messages, (4..=25).map(|seq| seq.to_string()).collect::<Vec<_>>());
    assert_eq!(changes, (2..=12).map(|seq| format!("c{seq}")).collect::<Vec<_>>());
    testing::settle().await;
    tell(&served, ConversationEvent::Messages(vec![logged(26)])).await;
    assert_eq!(place(&mut events).await, "26");
    tell(&served, ConversationEvent::Change(changed(13))).await;
    assert_eq!(place(&mut events).await, "c13");
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_is_waited_for_and_misses_nothing() {
    let served = Served::new(&["--max-unsent-bytes", "16384"]).await;
    let _asked = testing::worker(&served, log(10_000, 0)).await;
    let (mut client, token) = (client(&served).await, testing::service_token(&served.env));
    let mut events =
        client.subscribe(with(&token, conversation(Some(9_999), None))).await.unwrap().into_inner();
    assert_eq!(place(&mut events).await, "10000");
    // The log goes on, and so do broadcasts, which nobody reads meanwhile.
    let _asked = testing::worker(&served, log(20_000, 0)).await;
    for seq in 10_001..=20_000 {
        tell(&served, ConversationEvent::Messages(vec![logged(seq)])).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for seq in 10_001..=20_000_u64 {
        assert_eq!(place(&mut events).await, seq.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_and_a_revoked_token_end_streams_and_say_so() {
    let served = Served::new(&["--drain-window", "1s"]).await;
    let _asked = testing::worker(&served, log(1, 0)).await;
    let mut client = client(&served).await;
    let bobs = testing::user_token(&served.env, "bob");
    let mut revoked = client.subscribe(with(&bobs, conversation(None, None))).await.unwrap().into_inner();
    let services = testing::service_token(&served.env);
    let mut drained = client.subscribe(with(&services, conversation(None, None))).await.unwrap().into_inner();
    let revocation = envelope::Revocation {
        user: UserId::new("bob").unwrap(),
        at: served.env.now().plus(Duration::from_secs(9)),
    };
    let told = envelope::encode(&envelope::GatewayEnvelope::Revoked(revocation));
    served.bus.publish(&served.subjects.all_gateways(), told).await.unwrap();
    let ended = loop {
        if let Err(status) = revoked.message().await {
            break status;
        }
    };
    assert_eq!((ended.code(), ended.message()), (Code::Unauthenticated, "the token was revoked"));
    served.shutdown.cancel();
    let ended = loop {
        if let Err(status) = drained.message().await {
            break status;
        }
    };
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "unavailable"));
}
