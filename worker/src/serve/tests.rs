use std::time::Duration;

use simurgh_backplane::{Bucket, Bus, Entry, Filter, Key};
use simurgh_protocol::{
    Reason,
    envelope::{Call, Principal, Success},
};
use tokio_util::task::TaskTracker;

use super::*;
use crate::{faults::Fault, rig::Rig};

/// A worker `w1` that serves, and how it is told to stop.
async fn serving(rig: &Rig) -> (TaskTracker, CancellationToken) {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(serve(rig.workers[0].clone(), "w1".to_owned(), stop.clone()));
    tasks.close();
    tokio::time::sleep(Duration::from_millis(1)).await;
    (tasks, stop)
}

fn command(rig: &Rig, within: Duration, call: Call) -> bytes::Bytes {
    let principal = Principal::User(simurgh_protocol::UserId::new("alice").unwrap());
    envelope::encode(&Command {
        id: rig.env.uuid(),
        principal,
        token: None,
        deadline: rig.env.now().plus(within),
        call,
    })
}

async fn ask(rig: &Rig, subject: &Subject, payload: bytes::Bytes) -> Result<Answer, BusError> {
    let bytes = rig.bus.request(subject, payload, Duration::from_secs(20)).await?;
    Ok(envelope::decode(&bytes).unwrap())
}

fn reason(answer: Result<Answer, BusError>) -> Reason {
    match answer {
        Ok(Answer::Refused(refusal)) => refusal.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn commands_are_answered_on_both_subjects() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_tasks, _stop) = serving(&rig).await;
    let subjects = rig.workers[0].subjects.clone();
    for (name, subject) in [("a", subjects.worker("w1")), ("b", subjects.any_worker())] {
        let answer = ask(&rig, &subject, command(&rig, Duration::from_secs(2), rig.text(name, "x"))).await;
        assert!(matches!(answer, Ok(Answer::Ok(Success { status: 201, .. }))), "{answer:?}");
    }
    assert_eq!(rig.log().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_or_comes_late_is_unavailable() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_tasks, _stop) = serving(&rig).await;
    let subject = rig.workers[0].subjects.any_worker();
    let writes = rig.store.count("");
    let late = command(&rig, Duration::ZERO, rig.text("n", "x"));
    for payload in
        [bytes::Bytes::from_static(b"{"), bytes::Bytes::from_static(br#"{"v":2,"e":{"new":1}}"#), late]
    {
        assert_eq!(reason(ask(&rig, &subject, payload).await), Reason::Unavailable);
    }
    assert_eq!(rig.store.count(""), writes);
}

#[tokio::test(start_paused = true)]
async fn what_only_a_newer_gateway_says_is_refused_and_the_next_command_is_done() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_tasks, _stop) = serving(&rig).await;
    let subject = rig.workers[0].subjects.any_worker();
    let writes = rig.store.count("");
    let known = |name: &str| {
        String::from_utf8(command(&rig, Duration::from_secs(2), rig.text(name, "x")).to_vec()).unwrap()
    };
    for (ours, newer) in [
        (r#"{"v":1"#, r#"{"v":2"#),
        (r#""push":"send_message""#, r#""push":"send_hologram""#),
        (r#""call":{"push""#, r#""call":{"teleport""#),
        (r#""principal":{"user""#, r#""principal":{"robot""#),
    ] {
        let text = known("refused").replacen(ours, newer, 1);
        assert!(text.contains(newer), "{text}");
        assert_eq!(reason(ask(&rig, &subject, text.into()).await), Reason::Unavailable, "{newer}");
    }
    assert_eq!(rig.store.count(""), writes, "nothing was written or read");

    let text =
        known("done").replacen(r#""e":{"#, r#""of_a_newer_build":[1],"e":{"of_a_newer_build":{"x":[]},"#, 1);
    let answer = ask(&rig, &subject, text.into()).await;
    assert!(matches!(answer, Ok(Answer::Ok(Success { status: 201, .. }))), "{answer:?}");
    assert_eq!(rig.log().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_says_that_it_lives_and_that_it_leaves() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let mut heartbeats = rig.bus.subscribe(&rig.workers[0].subjects.worker_heartbeats(), None).await.unwrap();
    let (tasks, stop) = serving(&rig).await;
    tokio::time::sleep(Duration::from_millis(1_900)).await;
    stop.cancel();
    tasks.wait().await;
    let heard: Vec<WorkerAlive> = std::iter::from_fn(|| heartbeats.try_next())
        .map(|delivery| envelope::decode(&delivery.payload).unwrap())
        .collect();
    let leaving: Vec<bool> = heard.iter().map(|alive| alive.leaving).collect();
    assert_eq!(leaving, [false, false, false, false, true]);
    assert!(heard.iter().all(|alive| alive.id == "w1"));
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_was_taken_and_takes_no_more() {
    let rig = Rig::new(1, Duration::from_millis(100), 1).await;
    let (tasks, stop) = serving(&rig).await;
    let subject = rig.workers[0].subjects.worker("w1");
    let send = |name: &str| ask(&rig, &subject, command(&rig, Duration::from_secs(5), rig.text(name, "x")));
    let drained = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        stop.cancel();
        tokio::time::sleep(Duration::from_millis(20)).await;
        // Sent before the gateway heard.
        let late = send("lingering").await;
        assert!(matches!(late, Ok(Answer::Ok(_))), "{late:?}");
    };
    let (answer, ()) = futures_util::future::join(send("under way"), drained).await;
    assert!(matches!(answer, Ok(Answer::Ok(_))), "{answer:?}");
    tasks.wait().await;
    assert_eq!(send("too late").await, Err(BusError::NoResponders));
    assert!(rig.item(&crate::store::keys::head(&rig.room)).await.is_some(), "the head is written");
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_leaves_before_the_worker_does() {
    let rig = Rig::new(1, Duration::from_millis(50), 1).await;
    let bus = Arc::new(BufferedBus { bus: Arc::clone(&rig.bus), waiting: std::sync::Mutex::default() });
    let worker = Worker { bus, ..rig.worker() };
    let (subject, stop) = (worker.subjects.worker("w1"), CancellationToken::new());
    let serving = tokio::spawn(serve(worker, "w1".to_owned(), stop.clone()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        stop.cancel();
        serving.await.unwrap();
    };
    let asked = ask(&rig, &subject, command(&rig, Duration::from_secs(5), rig.text("last", "x")));
    let (answer, ()) = futures_util::future::join(asked, stopping).await;
    assert!(matches!(answer, Ok(Answer::Ok(_))), "{answer:?}");
}

/// A bus that sends what is published when it is flushed, as a connection does that is lost with its process.
struct BufferedBus {
    bus: Arc<simurgh_backplane::memory::MemoryBus>,
    waiting: std::sync::Mutex<Vec<(Subject, bytes::Bytes)>>,
}

#[async_trait::async_trait]
impl Bus for BufferedBus {
    async fn publish(&self, subject: &Subject, payload: bytes::Bytes) -> Result<(), BusError> {
        self.waiting.lock().unwrap().push((subject.clone(), payload));
        Ok(())
    }

    async fn flush(&self) -> Result<(), BusError> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        for (subject, payload) in waiting {
            self.bus.publish(&subject, payload).await?;
        }
        Ok(())
    }

    async fn subscribe(&self, subject: &Subject, queue: Option<&str>) -> Result<Subscription, BusError> {
        self.bus.subscribe(subject, queue).await
    }

    async fn request(
        &self,
        to: &Subject,
        payload: bytes::Bytes,
        wait: Duration,
    ) -> Result<bytes::Bytes, BusError> {
        self.bus.request(to, payload, wait).await
    }

    async fn get(&self, bucket: Bucket, key: &Key) -> Result<Option<Entry>, BusError> {
        self.bus.get(bucket, key).await
    }

    async fn get_many(&self, bucket: Bucket, filters: &[Filter]) -> Result<Vec<Entry>, BusError> {
        self.bus.get_many(bucket, filters).await
    }

    async fn put(&self, bucket: Bucket, key: &Key, value: bytes::Bytes) -> Result<u64, BusError> {
        self.bus.put(bucket, key, value).await
    }

    async fn update(
        &self,
        bucket: Bucket,
        key: &Key,
        value: bytes::Bytes,
        revision: u64,
    ) -> Result<u64, BusError> {
        self.bus.update(bucket, key, value, revision).await
    }

    async fn delete(&self, bucket: Bucket, key: &Key, revision: u64) -> Result<(), BusError> {
        self.bus.delete(bucket, key, revision).await
    }

    async fn ensure_buckets(&self) -> Result<(), BusError> {
        self.bus.ensure_buckets().await
    }

    async fn keep(&self, subject: &Subject, name: &str, payload: bytes::Bytes) -> Result<bool, BusError> {
        self.bus.keep(subject, name, payload).await
    }

    async fn ensure_offline(&self) -> Result<(), BusError> {
        self.bus.ensure_offline().await
    }

    fn connected(&self) -> tokio::sync::watch::Receiver<bool> {
        self.bus.connected()
    }

    fn notices(&self) -> tokio::sync::broadcast::Receiver<simurgh_backplane::Notice> {
        self.bus.notices()
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_its_bound_a_worker_refuses_at_once() {
    let rig = Rig::new(1, Duration::from_millis(100), 1).await;
    let room = Arc::new(Semaphore::new(0));
    let inbox = rig.bus.subscribe(&rig.workers[0].subjects.worker("w1"), None).await.unwrap();
    let worker = rig.workers[0].clone();
    let taking = async {
        let mut inbox = inbox;
        accept(&worker, &room, inbox.next().await.unwrap());
    };
    let begun = rig.env.instant();
    let subject = worker.subjects.worker("w1");
    let asked = ask(&rig, &subject, command(&rig, Duration::from_secs(5), rig.text("n", "x")));
    let (answer, ()) = futures_util::future::join(asked, taking).await;
    assert_eq!(reason(answer), Reason::Unavailable);
    assert_eq!(rig.env.instant(), begun);
}

#[tokio::test(start_paused = true)]
async fn it_listens_as_soon_as_the_bus_is_there() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    rig.bus.disconnect();
    let (tasks, stop) = serving(&rig).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    rig.bus.reconnect(simurgh_backplane::memory::Outage::LosesKeys);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let subject = rig.workers[0].subjects.worker("w1");
    let answer = ask(&rig, &subject, command(&rig, Duration::from_secs(2), rig.text("n", "x"))).await;
    assert!(matches!(answer, Ok(Answer::Ok(_))), "{answer:?}");
    rig.bus.disconnect();
    stop.cancel();
    tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn users_are_told_through_the_gateways_that_live() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let users = rig.workers[0].roster(&request(&rig), &rig.room).await.unwrap().unwrap();
    let users: Vec<_> = users.members.iter().cloned().collect();
    let payload = simurgh_protocol::Raw::empty();
    let worker = rig.workers[0].clone();
    assert_eq!(worker.tell_users(&users, "e", &payload).await, 3);
    assert_eq!(rig.heard().len(), 1, "one copy for the gateway");

    // A gateway that came a moment ago is known at once; one whose lease is gone counts as gone.
    let key = simurgh_backplane::subject::user_key(&users[0], "g2");
    let entry =
        rig.bus.get_many(Bucket::Presence, &[simurgh_backplane::subject::user_filter(&users[0])]).await;
    rig.bus.put(Bucket::Presence, &key, entry.unwrap()[0].value.clone()).await.unwrap();
    assert_eq!(worker.tell_users(&users, "e", &payload).await, 3);
    let lease = simurgh_backplane::subject::lease_key("g2");
    rig.bus.put(Bucket::Leases, &lease, bytes::Bytes::new()).await.unwrap();
    assert_eq!(worker.tell_users(&users, "e", &payload).await, 4);
    tokio::time::sleep(Duration::from_secs(20)).await;
    rig.heard();
    assert_eq!(worker.tell_users(&users, "e", &payload).await, 0);
    assert_eq!(rig.heard().len(), 0);

    rig.bus.disconnect();
    assert_eq!(worker.tell_users(&users, "e", &payload).await, 0);
    assert!(rig.send(0, "alice", "told or not, it is stored").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_unavailable_and_nothing_worse() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    for fault in [Fault::Lost, Fault::AnswerLost] {
        rig.store.plan("k#", fault);
        let refused = rig.send(0, "alice", &format!("{fault:?}")).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Unavailable);
        assert!(rig.send(0, "alice", &format!("{fault:?}")).await.is_ok());
    }
}

fn request(rig: &Rig) -> crate::Request {
    crate::Request::own(rig.env.now(), Duration::from_secs(1))
}
