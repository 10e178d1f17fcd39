//! An issuer on a real socket, with real time: only the minute between looks is skipped.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use simurgh_protocol::Refusal;
use simurgh_service::Readiness;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::yield_now,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring},
};

use super::*;
use crate::{
    auth::{Auth, AuthError, Keys, signers::Signer},
    testing::{self, Served},
};

/// What an issuer answers.
#[derive(Clone, Debug)]
enum Answer {
    Set(Vec<Value>),
    /// As it is, line ends included.
    Raw(String),
    /// Bytes without end.
    Endless,
    /// Nothing, and the connection stays open.
    Silence,
    /// A byte of a head now and then.
    Drips,
    /// The connection is closed at once.
    Closes,
}

struct Issuer {
    url: String,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn new(answer: Answer) -> Self {
        Self::over(answer, None).await
    }

    async fn over(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/keys?secret=s3", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (now, count) = (Arc::clone(&answer), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, tls) = (now.lock().unwrap().clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, answer, asked }
    }

    fn publishes(&self, keys: &[(&str, &Signer)]) {
        self.answers(Answer::Set(keys.iter().map(|(kid, signer)| signer.named(kid)).collect()));
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer) {
    if matches!(answer, Answer::Closes) {
        return;
    }
    let mut request = [0; 1024];
    let read = stream.read(&mut request).await.unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    assert!(request.starts_with("GET /keys?secret=s3 HTTP/1.1\r\n"), "{request}");
    match answer {
        Answer::Set(keys) => {
            let body = json!({ "keys": keys }).to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
        Answer::Raw(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Answer::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b' '; 4096]).await.is_ok() {}
        }
        Answer::Drips => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Answer::Silence | Answer::Closes => {
            let _ = stream.read(&mut [0; 1]).await;
        }
    }
}

/// Of a header that no head has room for.
const HEAD_TOO_LONG: usize = 64 * 1024;

/// Shorter than a test wants to wait.
const QUICK: FetchLimits = FetchLimits { time: Duration::from_millis(200), bytes: 64 * 1024, redirects: 3 };

/// A gateway's keys, followed as a gateway follows them.
struct Followed {
    auth: Auth,
    remote: Arc<Remote>,
    readiness: Readiness,
    env: Env,
    _stop: tokio_util::sync::DropGuard,
}

impl Followed {
    fn of(remote: Remote) -> Self {
        let (remote, env, readiness) = (Arc::new(remote), Env::seeded(1), Readiness::new());
        let stopped = CancellationToken::new();
        tokio::spawn(Arc::clone(&remote).follow(readiness.part("keys"), env.clone(), stopped.clone()));
        let mut auth = Auth::new(&testing::settings(&[])).unwrap();
        auth.keys = Keys::Published(Arc::clone(&remote));
        Self { auth, remote, readiness, env, _stop: stopped.drop_guard() }
    }

    async fn at(issuer: &Issuer) -> Self {
        let url = Url::parse(&issuer.url).unwrap();
        let followed = Self::of(Remote::trusting(url, RootCertStore::empty(), QUICK).unwrap());
        followed.readiness.wait().await;
        followed
    }

    async fn takes(&self, signer: &Signer, kid: &str) -> Result<(), AuthError> {
        let token = signer.token(Some(kid), &claims(&self.env));
        self.auth.authenticate(&token, &self.env).await.map(drop)
    }

    /// The next look is over.
    async fn looked(&self) {
        while self.remote.lock().looking {
            yield_now().await;
        }
    }
}

fn claims(env: &Env) -> Value {
    json!({"sub": "alice", "exp": env.now().as_secs() + 86_400})
}

async fn skip(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_new_key_is_found_by_the_first_token_that_names_it_and_both_hold() {
    let (old, new) = (Signer::es256(), Signer::ed25519());
    let issuer = Issuer::new(Answer::Set(vec![old.named("old")])).await;
    let followed = Followed::at(&issuer).await;
    assert_eq!((followed.takes(&old, "old").await, issuer.asked()), (Ok(()), 1));

    skip(PAUSE).await;
    issuer.publishes(&[("old", &old), ("new", &new)]);
    assert_eq!((followed.takes(&new, "new").await, issuer.asked()), (Ok(()), 2));
    assert_eq!((followed.takes(&old, "old").await, issuer.asked()), (Ok(()), 2));

    // The issuer withdraws the old key; nobody has to ask for that to be seen.
    issuer.publishes(&[("new", &new)]);
    skip(INTERVAL + INTERVAL / 5).await;
    while issuer.asked() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    followed.looked().await;
    assert_eq!(followed.takes(&old, "old").await, Err(AuthError::UnknownKey));
    assert_eq!(followed.takes(&new, "new").await, Ok(()));
}

#[tokio::test]
async fn unknown_keys_have_the_issuer_asked_once_a_minute_at_most() {
    let (ours, theirs) = (Signer::es256(), Signer::es256());
    let issuer = Issuer::new(Answer::Set(vec![ours.named("k1")])).await;
    let followed = Followed::at(&issuer).await;
    skip(PAUSE).await;
    for number in 0..100 {
        let unknown = followed.takes(&theirs, &format!("junk-{number}")).await;
        assert_eq!(unknown, Err(AuthError::UnknownKey));
    }
    assert_eq!(issuer.asked(), 2);

    // What was asked for in between comes when the minute is over, without another token.
    issuer.publishes(&[("k1", &ours), ("k2", &theirs)]);
    assert_eq!(followed.takes(&theirs, "k2").await, Err(AuthError::UnknownKey));
    assert_eq!(issuer.asked(), 2);
    skip(PAUSE).await;
    while issuer.asked() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    followed.looked().await;
    assert_eq!((followed.takes(&theirs, "k2").await, issuer.asked()), (Ok(()), 3));
}

#[tokio::test]
async fn many_tokens_with_a_new_key_wait_for_one_look() {
    let (old, new) = (Signer::es256(), Signer::es256());
    let issuer = Issuer::new(Answer::Set(vec![old.named("old")])).await;
    let followed = Followed::at(&issuer).await;
    skip(PAUSE).await;
    issuer.publishes(&[("new", &new)]);
    let taken = futures_util::future::join_all((0..50).map(|_| followed.takes(&new, "new"))).await;
    assert!(taken.iter().all(Result::is_ok), "{taken:?}");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn an_issuer_that_fails_takes_no_key_away() {
    let (ours, new) = (Signer::es256(), Signer::es256());
    let issuer = Issuer::new(Answer::Set(vec![ours.named("k1")])).await;
    let followed = Followed::at(&issuer).await;
    let ok = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let to = |place: &str| {
        Answer::Raw(format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n"))
    };
    let secret_set = format!(r#"{{"keys":[{}]}}"#, json!({"kty": "oct", "k": "AAAA", "kid": "k2"}));
    for answer in [
        Answer::Silence,
        Answer::Drips,
        Answer::Closes,
        Answer::Endless,
        Answer::Raw("junk\r\n\r\n".into()),
        Answer::Raw(ok("<html>log in</html>")),
        Answer::Raw(ok(&"[".repeat(50_000))),
        Answer::Raw(ok(r#"{"keys":[]}"#)),
        Answer::Raw(ok(&secret_set)),
        Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"keys\":[".into()),
        Answer::Raw("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".into()),
        Answer::Raw("HTTP/1.1 204 No\r\n\r\n".into()),
        Answer::Raw(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(HEAD_TOO_LONG))),
        to("/keys?secret=s3"),
        to("ftp://127.0.0.1/keys"),
        to("http://127.0.0.1:1/keys"),
    ] {
        issuer.answers(answer.clone());
        skip(PAUSE).await;
        let asked = issuer.asked();
        assert_eq!(followed.takes(&new, "k2").await, Err(AuthError::UnknownKey), "{answer:?}");
        assert!(issuer.asked() > asked, "{answer:?}");
        assert!(followed.remote.lock().failures > 0, "{answer:?}");
        assert_eq!(followed.takes(&ours, "k1").await, Ok(()), "{answer:?}");
    }
    assert_eq!(issuer.asked(), 1 + 15 + 1 + 3, "a loop of redirects is followed three times");
    assert!(followed.readiness.parts_work());

    issuer.publishes(&[("k2", &new)]);
    skip(PAUSE).await;
    assert_eq!(followed.takes(&new, "k2").await, Ok(()));
}

#[tokio::test]
async fn a_gateway_is_ready_once_the_issuer_has_answered() {
    let signer = Signer::es256();
    let issuer = Issuer::new(Answer::Closes).await;
    let url = Url::parse(&issuer.url).unwrap();
    let followed = Followed::of(Remote::trusting(url, RootCertStore::empty(), QUICK).unwrap());
    while issuer.asked() == 0 {
        yield_now().await;
    }
    // It says nothing of the token: whoever holds it must not be told to sign in again.
    assert_eq!(followed.takes(&signer, "k1").await, Err(AuthError::NoKeys));
    assert_eq!(Refusal::from(AuthError::NoKeys).reason.http_status(), 503);
    assert!(!followed.readiness.parts_work());
    issuer.publishes(&[("k1", &signer)]);
    followed.readiness.wait().await;
    assert_eq!(followed.takes(&signer, "k1").await, Ok(()));
}

/// A server's side and the authority that a client has to trust.
fn authority() -> (TlsAcceptor, RootCertStore) {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key =
        tokio_rustls::rustls::pki_types::PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), roots)
}

#[tokio::test]
async fn an_https_issuer_proves_who_it_is() {
    let (ours, trusted) = authority();
    let (_, others) = authority();
    let signer = Signer::es256();
    let issuer = Issuer::over(Answer::Set(vec![signer.named("k1")]), Some(ours)).await;
    let url = Url::parse(&issuer.url).unwrap();
    let followed = Followed::of(Remote::trusting(url.clone(), trusted.clone(), LIMITS).unwrap());
    followed.readiness.wait().await;
    assert_eq!(followed.takes(&signer, "k1").await, Ok(()));

    let fetched = |roots| async { Fetcher::new(roots, LIMITS).unwrap().get(&url).await };
    assert!(matches!(fetched(others).await, Err(FetchError::Tls(_))));
    assert!(fetched(trusted.clone()).await.is_ok());
    // What TLS protected is not had without it after all.
    let plain = Issuer::new(Answer::Set(vec![signer.named("k1")])).await;
    let place = format!("HTTP/1.1 307 x\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", plain.url);
    issuer.answers(Answer::Raw(place));
    assert!(matches!(fetched(trusted).await, Err(FetchError::Astray)));
    assert_eq!(plain.asked(), 0);
}

#[tokio::test]
async fn a_gateway_takes_tokens_by_the_issuers_keys_at_each_door() {
    let signer = Signer::es256();
    let issuer = Issuer::new(Answer::Set(vec![signer.named("k1")])).await;
    let served = Served::new(&[&format!("--jwks-url={}", issuer.url)]).await;
    testing::worker(&served, |_| Ok((200, json!({})))).await;
    let exp = served.env.now().as_secs() + 60;
    let token = |kid: &str, signer: &Signer| signer.token(Some(kid), &json!({"sub": "alice", "exp": exp}));
    let good = token("k1", &signer);
    let served = &served;
    let ask = |path: &str, headers: &str| {
        let request = format!("GET {path} HTTP/1.1\nhost: x\n{headers}\n");
        async move { testing::exchange(&mut served.connect().await, &request).await }
    };
    let upgrade =
        "connection: upgrade\nupgrade: websocket\nsec-websocket-key: a\nsec-websocket-version: 13\n";
    for (token, call, socket, session) in [
        (good.as_str(), 200, 101, 410),
        (token("k2", &signer).as_str(), 401, 403, 403),
        (token("k1", &Signer::es256()).as_str(), 401, 403, 403),
        (testing::user_token(&served.env, "alice").as_str(), 401, 403, 403),
    ] {
        let bearer = format!("authorization: Bearer {token}\n");
        assert_eq!(ask("/api/v1/contacts", &bearer).await.status, call);
        assert_eq!(ask(&format!("/socket/websocket?token={token}"), upgrade).await.status, socket);
        let heard = ask(&format!("/socket/longpoll?vsn=2.0.0&token={token}"), "").await;
        assert_eq!(heard.json()["status"], session);
    }
}
