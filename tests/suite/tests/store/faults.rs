//! Answers that engines give too rarely: throttles, conflicts of transactions, silence. A server plays them.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use simurgh_env::Env;
use simurgh_worker::store::{
    Consistency, Key, Store, StoreError,
    dynamo::{CALL_TIMEOUT, DynamoStore},
};
use tokio::net::TcpListener;

use super::{config, connect, first, key, metrics};

/// The answers still to be given, each a status and a body, and the requests that came.
#[derive(Default)]
struct Script {
    answers: VecDeque<(u16, Value)>,
    requests: Vec<Value>,
}

/// Plays a script, and then nothing but empty successes.
struct Player {
    script: Arc<Mutex<Script>>,
    endpoint: String,
}

impl Player {
    async fn start(answers: Vec<(u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let script = Script { answers: answers.into(), requests: Vec::new() };
        let script = Arc::new(Mutex::new(script));
        let playing = Arc::clone(&script);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let script = Arc::clone(&playing);
                let service = service_fn(move |request| play(Arc::clone(&script), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { script, endpoint }
    }

    fn requests(&self) -> Vec<Value> {
        self.script.lock().unwrap().requests.clone()
    }
}

async fn play(
    script: Arc<Mutex<Script>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut script = script.lock().unwrap();
    script.requests.push(serde_json::from_slice(&body).unwrap());
    let (status, body) = script.answers.pop_front().unwrap_or((200, json!({})));
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    Ok(response.body(Full::new(Bytes::from(body.to_string()))).unwrap())
}

fn error(code: &str) -> (u16, Value) {
    (400, json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "for a test" }))
}

fn cancelled(codes: &[&str]) -> (u16, Value) {
    let (status, mut body) = error("TransactionCanceledException");
    body["CancellationReasons"] = codes.iter().map(|code| json!({ "Code": code })).collect();
    (status, body)
}

fn stored(sk: &str) -> Value {
    json!({ "pk": { "S": "p" }, "sk": { "S": sk }, "v": { "N": "1" }, "b": { "S": "{}" } })
}

/// More keys than are read as if each were for itself: `b`, `a`, and others.
fn many() -> Vec<Key> {
    ["b", "a"].map(key).into_iter().chain((0..30).map(|number| key(&number.to_string()))).collect()
}

fn keys_in(request: &Value) -> usize {
    request["RequestItems"]["simurgh"]["Keys"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_throttled_write_is_tried_again() {
    let throttle = error("ProvisionedThroughputExceededException");
    let player = Player::start(vec![throttle.clone(), throttle, (500, json!({}))]).await;
    connect(&player.endpoint).await.put(first("a")).await.unwrap();
    assert_eq!(player.requests().len(), 4);
}

#[tokio::test]
async fn a_store_that_throttles_on_is_unavailable_and_says_why() {
    let player = Player::start(vec![error("ThrottlingException"); 99]).await;
    let error = connect(&player.endpoint).await.put(first("a")).await.unwrap_err();
    assert_eq!(error, StoreError::Unavailable("PutItem: ThrottlingException: for a test".to_owned()));
    assert_eq!(player.requests().len(), 4);
}

#[tokio::test]
async fn a_store_in_distress_is_not_asked_four_times_for_everything() {
    let player = Player::start(vec![error("ThrottlingException"); 999]).await;
    let store = connect(&player.endpoint).await;
    let calls = join_all((0..100).map(|_| store.put(first("a")))).await;
    assert!(calls.iter().all(Result::is_err));
    let requests = player.requests().len();
    // The calls themselves and the quota's 100 retries, and what flows into it meanwhile.
    assert!((150..350).contains(&requests), "{requests} requests for 100 calls");
}

#[tokio::test]
async fn a_write_that_meets_a_transaction_is_tried_again() {
    let player = Player::start(vec![error("TransactionConflictException")]).await;
    connect(&player.endpoint).await.put(first("a")).await.unwrap();
    assert_eq!(player.requests().len(), 2);
}

#[tokio::test]
async fn a_transaction_that_meets_another_is_tried_again_as_the_same() {
    let answers = vec![
        cancelled(&["None", "TransactionConflict"]),
        cancelled(&["ConditionalCheckFailed", "ThrottlingError"]),
    ];
    let player = Player::start(answers).await;
    connect(&player.endpoint).await.transact(vec![first("a"), first("b")]).await.unwrap();
    let requests = player.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request["ClientRequestToken"].is_string()));
    assert!(requests.iter().all(|request| request == &requests[0]), "{requests:?}");
}

#[tokio::test]
async fn a_transaction_whose_conditions_failed_is_not_tried_again() {
    let player = Player::start(vec![cancelled(&["None", "ConditionalCheckFailed"])]).await;
    let result = connect(&player.endpoint).await.transact(vec![first("a"), first("b")]).await;
    assert_eq!(result, Err(StoreError::Conflict(None)));
    assert_eq!(player.requests().len(), 1);
}

#[tokio::test]
async fn a_transaction_that_always_meets_others_is_unavailable() {
    let player = Player::start(vec![cancelled(&["TransactionConflict"]); 99]).await;
    let result = connect(&player.endpoint).await.transact(vec![first("a")]).await;
    assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    assert_eq!(player.requests().len(), 7);
}

#[tokio::test]
async fn keys_left_out_are_asked_for_again_and_only_they() {
    let left = json!({ "simurgh": { "Keys": [{ "pk": { "S": "p" }, "sk": { "S": "b" } }] } });
    let answers = vec![
        (200, json!({ "Responses": { "simurgh": [stored("a")] }, "UnprocessedKeys": left })),
        (200, json!({ "Responses": {}, "UnprocessedKeys": left })),
        (200, json!({ "Responses": { "simurgh": [stored("b")] } })),
    ];
    let player = Player::start(answers).await;
    let store = connect(&player.endpoint).await;
    let found = store.get_many(&many(), Consistency::Strong).await.unwrap();
    assert_eq!(found.iter().map(|item| item.key.sk.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(player.requests().iter().map(keys_in).collect::<Vec<_>>(), [many().len(), 1, 1]);
}

#[tokio::test]
async fn reads_at_once_are_one_request_and_a_key_left_out_is_read_alone() {
    let left = json!({ "simurgh": { "Keys": [{ "pk": { "S": "p" }, "sk": { "S": "b" } }] } });
    let answers = vec![
        (200, json!({ "Responses": { "simurgh": [stored("a")] }, "UnprocessedKeys": left })),
        (200, json!({ "Item": stored("b") })),
    ];
    let player = Player::start(answers).await;
    let store = connect(&player.endpoint).await;
    let keys = [key("a"), key("b"), key("c"), key("a")];
    let found = join_all(keys.iter().map(|key| store.get(key, Consistency::Strong))).await;
    let found: Vec<_> = found.into_iter().map(|found| found.unwrap().map(|item| item.key.sk)).collect();
    assert_eq!(found, [Some("a".to_owned()), Some("b".to_owned()), None, Some("a".to_owned())]);
    let [together, alone] = player.requests().try_into().unwrap();
    assert_eq!((keys_in(&together), &alone["Key"]["sk"]["S"]), (3, &json!("b")));
}

#[tokio::test]
async fn an_item_that_cannot_be_read_is_an_error_only_for_who_asked_for_it() {
    let mut foreign = stored("b");
    foreign["v"] = json!({ "S": "one" });
    let answers = vec![
        (200, json!({ "Responses": { "simurgh": [stored("a"), foreign] } })),
        (200, json!({ "Item": stored("a") })),
        (200, json!({ "Item": foreign })),
    ];
    let player = Player::start(answers).await;
    let store = connect(&player.endpoint).await;
    let (a, b) = (key("a"), key("b"));
    let get = |key| store.get(key, Consistency::Strong);
    let (good, bad) = tokio::join!(get(&a), get(&b));
    assert_eq!(good.unwrap().unwrap().key, a);
    assert!(matches!(bad, Err(StoreError::Unavailable(_))), "{bad:?}");
    assert_eq!(player.requests().len(), 3);
}

#[tokio::test]
async fn keys_that_stay_left_out_make_the_store_unavailable() {
    let left = json!({ "simurgh": { "Keys": [{ "pk": { "S": "p" }, "sk": { "S": "a" } }] } });
    let answer = (200, json!({ "Responses": {}, "UnprocessedKeys": left }));
    let player = Player::start(vec![answer.clone(); 99]).await;
    let result = connect(&player.endpoint).await.get_many(&many(), Consistency::Strong).await;
    assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    assert_eq!(player.requests().len(), 7);
}

#[tokio::test]
async fn a_store_that_is_silent_is_unavailable_within_two_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(&format!("http://{}", listener.local_addr().unwrap()));
    let store = DynamoStore::connect(config, Env::system(), metrics()).await;
    let (key, began) = (key("a"), Env::system().instant());
    let results = tokio::join!(
        store.get(&key, Consistency::Strong),
        store.put(first("a")),
        store.transact(vec![first("a")])
    );
    assert!(matches!(results.0, Err(StoreError::Unavailable(_))));
    assert!(matches!(results.1, Err(StoreError::Unavailable(_))));
    assert!(matches!(results.2, Err(StoreError::Unavailable(_))));
    // And one for a busy machine.
    assert!(began.elapsed() < CALL_TIMEOUT + Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_store_out_of_reach_is_unavailable_and_says_why() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let store = connect(&format!("http://127.0.0.1:{port}")).await;
    let error = store.ready().await.unwrap_err().to_string();
    assert!(error.contains("DescribeTable") && error.contains("refused"), "{error}");
}
