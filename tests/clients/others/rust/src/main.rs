//! `phoenix_channels_client` of crates.io, driven by lines of JSON on standard input: `{do: connect | join | push | leave, …}`.
//! Each is answered by one line, `{ok}` or `{error}`; broadcasts are lines `{event, topic, payload}`.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use phoenix_channels_client::{Channel, Client, Config, Payload, SendError};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

fn value(payload: &Payload) -> Value {
    match payload {
        Payload::Value(value) => value.clone(),
        Payload::Binary(_) => json!("binary"),
    }
}

async fn connect(line: &Value) -> Result<Client, Box<dyn Error>> {
    let mut config = Config::new(line["url"].as_str().unwrap_or_default())?;
    config.set("token", line["token"].as_str().unwrap_or_default());
    let mut client = Client::new(config)?;
    client.connect().await?;
    Ok(client)
}

async fn join(client: &Client, topic: &str) -> Result<Arc<Channel>, Box<dyn Error>> {
    let channel = client.join(topic, PATIENCE).await?;
    channel
        .on("new_message", |channel, payload| {
            println!("{}", json!({"event": "new_message", "topic": channel.topic(), "payload": value(payload)}));
        })
        .await?;
    Ok(channel)
}

async fn push(channel: &Channel, line: &Value) -> Result<Value, Box<dyn Error>> {
    let event = line["event"].as_str().unwrap_or_default().to_owned();
    match channel.send_with_timeout(event, line["payload"].clone(), PATIENCE).await {
        Ok(reply) => Ok(json!({"status": "ok", "response": value(&reply)})),
        Err(SendError::Reply(refusal)) => Ok(json!({"status": "error", "response": value(&refusal)})),
        Err(error) => Err(error.into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut client, mut channels) = (None, BTreeMap::new());
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let line: Value = serde_json::from_str(&line)?;
        let topic = line["topic"].as_str().unwrap_or_default().to_owned();
        let done = match (line["do"].as_str(), &client, channels.get(&topic)) {
            (Some("connect"), ..) => connect(&line).await.map(|connected| {
                channels.clear();
                client = Some(connected);
                Value::Null
            }),
            (Some("join"), Some(client), _) => join(client, &topic).await.map(|channel| {
                channels.insert(topic, channel);
                Value::Null
            }),
            (Some("push"), _, Some(channel)) => push(channel, &line).await,
            (Some("leave"), _, Some(channel)) => {
                channel.leave().await;
                channels.remove(&topic);
                Ok(Value::Null)
            }
            _ => Err("not connected, or not joined".into()),
        };
        match done {
            Ok(ok) => println!("{}", json!({"ok": ok})),
            Err(error) => println!("{}", json!({"error": error.to_string()})),
        }
    }
    Ok(())
}
