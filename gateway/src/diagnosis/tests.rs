use serde_json::{Value, json};
use simurgh_backplane::{Bucket, subject};
use simurgh_protocol::envelope::{Call, ChannelHere, ChannelState, GatewayEnvelope};

use super::*;
use crate::testing::{self, Client, Served, socket, told};

/// A worker for joins: the log stands at 7.
async fn worker(served: &Served) {
    testing::worker(served, |command| match &command.call {
        Call::JoinUser => Ok((200, json!({"visible": [], "unread": []}))),
        Call::JoinConversation { conversation, .. } => {
            let head =
                json!({"conversation": conversation, "last_seq": 7, "change_seq": 0, "members_version": 1});
            Ok((200, json!({"head": head, "response": {}})))
        }
        _ => Ok((200, json!({}))),
    })
    .await;
}

async fn name(served: &Served) -> String {
    let leases = served.bus.get_many(Bucket::Leases, &[subject::all_leases()]).await.unwrap();
    leases[0].key.parts().pop().unwrap()
}

fn question(user: &str) -> bytes::Bytes {
    let (conversation, user) = (ConversationId::new("c1").unwrap(), UserId::new(user).unwrap());
    envelope::encode(&GatewayEnvelope::Sockets { conversation, user })
}

/// What a gateway says of the user's sockets.
async fn ask(served: &Served, gateway: &str, user: &str) -> SocketsHere {
    let subject = served.subjects.gateway(gateway);
    let answer = served.bus.request(&subject, question(user), Duration::from_secs(1)).await;
    envelope::decode(&answer.unwrap()).unwrap()
}

async fn join(client: &mut Client, topic: &str) -> Value {
    let reply = told(client, &json!(["1", topic, topic, "phx_join", {}])).await;
    assert_eq!(reply[4]["status"], "ok", "{reply}");
    reply[4]["response"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_gateway_tells_of_a_users_sockets_and_how_far_each_was_told_the_conversation() {
    let served = Served::new(&[]).await;
    worker(&served).await;
    let gateway = name(&served).await;
    assert_eq!(ask(&served, &gateway, "alice").await, SocketsHere::default());

    let (mut there, mut elsewhere) = (socket(&served, "alice").await, socket(&served, "alice").await);
    let mut bob = socket(&served, "bob").await;
    let session = join(&mut there, "user:alice").await["session_id"].clone();
    join(&mut there, "conversation:c1").await;
    join(&mut bob, "conversation:c1").await;
    join(&mut elsewhere, "user:alice").await;
    let SocketsHere { sockets, left_out, dropped, heard_seq } = ask(&served, &gateway, "alice").await;
    assert_eq!((sockets.len(), left_out, dropped, heard_seq), (2, 0, 0, 7));
    let channel = ChannelHere { joined_seq: 7, queued_seq: 7, sent_seq: 7, state: ChannelState::Open };
    assert_eq!(json!(sockets[0].session_id), session);
    assert_eq!((sockets[0].channel, sockets[0].transport.as_str()), (Some(channel), "websocket"));
    assert_eq!(sockets[1].channel, None, "it has not joined this one");

    // Gone, it may be back yet.
    drop(there);
    testing::settle().await;
    let here = ask(&served, &gateway, "alice").await;
    assert_eq!((here.sockets.len(), here.dropped), (1, 1));
    tokio::time::sleep(crate::topic::actor::GRACE).await;
    assert_eq!(ask(&served, &gateway, "alice").await.dropped, 0);
    drop((elsewhere, bob));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_beyond_the_bound_gets_no_answer_and_nobody_waits_for_it() {
    let served = Served::new(&[]).await;
    let gateway = name(&served).await;
    let subject = served.subjects.gateway(&gateway);
    let ask = || served.bus.request(&subject, question("alice"), Duration::from_secs(1));
    let answers = futures_util::future::join_all((0..AT_ONCE * 2).map(|_| ask())).await;
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(answered, AT_ONCE);
    assert!(ask().await.is_ok(), "there is room again");
}

fn shown(id: u64) -> Shown {
    let id = crate::mailbox::SocketId(id);
    Shown { id, session: uuid::Uuid::nil(), transport: "longpoll", unsent_bytes: 5 }
}

#[test]
fn a_channel_whose_socket_has_ended_counts_as_dropped() {
    let channel = ChannelHere { joined_seq: 1, queued_seq: 2, sent_seq: 2, state: ChannelState::Open };
    let id = crate::mailbox::SocketId;
    let channels = [(id(1), channel), (id(2), channel)].into();
    let SocketsHere { sockets, left_out, dropped, heard_seq } =
        here(&[shown(2)], Report { channels, dropped: 1, heard_seq: 9 });
    assert_eq!((sockets.len(), left_out, dropped, heard_seq), (1, 0, 2, 9));
    assert_eq!((sockets[0].unsent_bytes, sockets[0].channel), (5, Some(channel)));
}

#[test]
fn of_more_sockets_than_an_answer_names_those_with_the_conversation_are_named() {
    let channel = ChannelHere { joined_seq: 1, queued_seq: 2, sent_seq: 2, state: ChannelState::Open };
    let last = NAMED as u64 + 3;
    let open: Vec<Shown> = (1..=last).map(shown).collect();
    let channels = [(open[last as usize - 1].id, channel)].into();
    let SocketsHere { sockets, left_out, .. } = here(&open, Report { channels, dropped: 0, heard_seq: 2 });
    assert_eq!((sockets.len(), left_out, sockets[0].channel), (NAMED, 3, Some(channel)));
}
