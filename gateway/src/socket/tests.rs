use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use simurgh_protocol::{
    Timestamp, UserId,
    envelope::{self, GatewayEnvelope, Revocation},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::testing::{self, Served};

async fn open(served: &Served, user: &str) -> WebSocketStream<tokio::io::DuplexStream> {
    let now = served.env.now().as_secs();
    let token = testing::token(&json!({"sub": user, "iat": now, "exp": now + 3_600}));
    let address = format!("ws://simurgh/socket/websocket?vsn=2.0.0&token={token}");
    client_async(address, served.connect().await).await.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn a_revocation_ends_the_sockets_of_tokens_of_before_and_no_others() {
    let served = Served::new(&[]).await;
    let (mut alices, mut bobs) = (open(&served, "alice").await, open(&served, "bob").await);
    let now = served.env.now();
    let revoked = |at: Timestamp| {
        let user = UserId::new("alice").unwrap();
        envelope::encode(&GatewayEnvelope::Revoked(Revocation { user, at }))
    };
    let all = served.subjects.all_gateways();
    // Of before the token was issued: late news.
    let hour = Duration::from_secs(3_600).as_millis();
    let before = Timestamp::from_millis(now.as_millis() - u64::try_from(hour).unwrap());
    served.bus.publish(&all, revoked(before)).await.unwrap();
    for socket in [&mut alices, &mut bobs] {
        socket.send(text(&json!([null, "1", "phoenix", "heartbeat", {}]))).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().is_text());
    }
    served.bus.publish(&all, revoked(now)).await.unwrap();
    let Some(Ok(Message::Close(Some(close)))) = alices.next().await else { panic!("it was to be closed") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4003, "revoked"));
    bobs.send(text(&json!([null, "2", "phoenix", "heartbeat", {}]))).await.unwrap();
    assert!(bobs.next().await.unwrap().unwrap().is_text());
}

fn text(frame: &Value) -> Message {
    Message::text(frame.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_floods_is_read_from_a_hundred_times_a_second_and_no_other_waits() {
    let served = Served::new(&["--rate-joins=1:1"]).await;
    let (mut flooding, mut other) = (open(&served, "alice").await, open(&served, "bob").await);
    let start = testing::now();
    let flood = async {
        let mut refused = 0;
        for turn in 0..300 {
            // Nobody answers the first one's join: no worker is there.
            flooding
                .send(text(&json!(["1", turn.to_string(), format!("conversation:{turn}"), "phx_join", {}])))
                .await
                .unwrap();
        }
        flooding.send(text(&json!([null, "end", "phoenix", "heartbeat", {}]))).await.unwrap();
        while let Some(Ok(heard)) = flooding.next().await {
            let frame: Value = serde_json::from_str(heard.to_text().unwrap()).unwrap();
            if frame[1] == "end" {
                break;
            }
            assert_eq!(frame[4]["response"]["reason"], "rate_limit_exceeded", "{frame}");
            refused += 1;
        }
        (refused, start.elapsed())
    };
    let beat = async {
        other.send(text(&json!([null, "1", "phoenix", "heartbeat", {}]))).await.unwrap();
        other.next().await.unwrap().unwrap();
        start.elapsed()
    };
    let ((refused, took), beaten) = tokio::join!(biased; flood, beat);
    // Twice the bucket has filled meanwhile.
    assert!((295..300).contains(&refused), "{refused}");
    assert!((Duration::from_millis(2_500)..Duration::from_millis(3_500)).contains(&took), "{took:?}");
    assert!(beaten < Duration::from_millis(100), "{beaten:?}");
}
