use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::testing::{self, Served};

async fn open(served: &Served, user: &str) -> WebSocketStream<tokio::io::DuplexStream> {
    let token = testing::user_token(&served.env, user);
    let address = format!("ws://simurgh/socket/websocket?vsn=2.0.0&token={token}");
    client_async(address, served.connect().await).await.unwrap().0
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
