use std::{net::SocketAddr, process::Command, time::Duration};

use axum::{Router, routing::get};
use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector, client,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::*;
use crate::{
    TcpConnections,
    bind::bind,
    http::{HttpLimits, serve},
};

/// A folder with a pair that is changed in the course of a test.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn args(&self) -> TlsArgs {
        TlsArgs { tls_cert: Some(self.path("cert.pem")), tls_key: Some(self.path("key.pem")) }
    }

    /// Puts a pair there; what trusts it.
    fn put(&self) -> RootCertStore {
        let Made { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.path("cert.pem"), cert.pem()).unwrap();
        fs::write(self.path("key.pem"), signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        roots
    }
}

/// A listener with these keys, and where it listens.
fn listening(keys: &Arc<TlsKeys>, limits: HttpLimits) -> SocketAddr {
    let tcp = TcpConnections::new(bind("127.0.0.1:0".parse().unwrap(), "TEST").unwrap());
    let address = tcp.local_addr().unwrap();
    let connections = MaybeTlsConnections::new(tcp, Some(Arc::clone(keys)));
    let router = Router::new().route("/", get(|| async { "hello" }));
    tokio::spawn(serve(connections, router, limits, CancellationToken::new()));
    address
}

async fn shake(address: SocketAddr, roots: &RootCertStore) -> io::Result<client::TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    timeout(Duration::from_secs(10), TlsConnector::from(Arc::new(config)).connect(name, stream)).await?
}

async fn hello(stream: &mut client::TlsStream<TcpStream>) -> bool {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut bytes = vec![0; 4096];
    let read = timeout(Duration::from_secs(10), stream.read(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8_lossy(&bytes[..read]).ends_with("hello")
}

#[tokio::test]
async fn a_certificate_is_changed_while_it_listens_and_a_bad_one_is_not_taken() {
    let files = Files::new();
    let first = files.put();
    let keys = files.args().load().unwrap().unwrap();
    let address = listening(&keys, HttpLimits::default());
    let mut before = shake(address, &first).await.unwrap();
    assert!(hello(&mut before).await);

    let second = files.put();
    assert!(shake(address, &second).await.is_err(), "nobody has said so yet");
    keys.reload().unwrap();
    assert!(hello(&mut shake(address, &second).await.unwrap()).await);
    assert!(shake(address, &first).await.is_err());
    assert!(hello(&mut before).await, "what is open stays");

    for (name, text) in [("key.pem", "junk"), ("cert.pem", ""), ("cert.pem", "junk")] {
        fs::write(files.path(name), text).unwrap();
        assert!(keys.reload().is_err(), "{name}");
        assert!(hello(&mut shake(address, &second).await.unwrap()).await, "{name}");
    }
    let cert = fs::read(files.path("cert.pem")).unwrap();
    files.put();
    fs::write(files.path("cert.pem"), cert).unwrap();
    assert!(keys.reload().is_err(), "half of a new pair");
    let third = files.put();
    keys.reload().unwrap();
    assert!(hello(&mut shake(address, &third).await.unwrap()).await);
}

#[tokio::test]
async fn sighup_has_the_files_read_again() {
    let files = Files::new();
    files.put();
    let keys = files.args().load().unwrap().unwrap();
    let address = listening(&keys, HttpLimits::default());
    let (hangups, stopped) = (signal(SignalKind::hangup()).unwrap(), CancellationToken::new());
    let follow = tokio::spawn(Arc::clone(&keys).follow(hangups, stopped.clone()));
    let hang_up = || {
        let kill = Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status();
        assert!(kill.unwrap().success());
    };
    let second = files.put();
    hang_up();
    let taken = async { while shake(address, &second).await.is_err() {} };
    timeout(Duration::from_secs(10), taken).await.unwrap();

    fs::write(files.path("cert.pem"), "junk").unwrap();
    hang_up();
    // The one after it is taken, so this one was seen.
    let third = files.put();
    hang_up();
    let taken = async { while shake(address, &third).await.is_err() {} };
    timeout(Duration::from_secs(10), taken).await.unwrap();
    stopped.cancel();
    follow.await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_does_not_come_holds_up_nobody_and_ends() {
    let files = Files::new();
    let roots = files.put();
    let keys = files.args().load().unwrap().unwrap();
    let limits = HttpLimits { header_read: Duration::from_millis(500), ..HttpLimits::default() };
    let address = listening(&keys, limits);
    let silent = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    // The head of a record of 512 bytes that never comes.
    slow.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(hello(&mut shake(address, &roots).await.unwrap()).await);
    for (name, mut stream) in [("silent", silent), ("slow", slow), ("plain", plain)] {
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{name}");
        assert!(!String::from_utf8_lossy(&rest).contains("hello"), "{name}");
    }
}

#[test]
fn what_cannot_be_used_is_a_bad_setting() {
    let files = Files::new();
    assert!(TlsArgs { tls_cert: None, tls_key: None }.load().unwrap().is_none());
    let refused = |args: TlsArgs| args.load().err().unwrap();
    assert_eq!(refused(TlsArgs { tls_key: None, ..files.args() }).setting, "SIMURGH_TLS_KEY");
    assert_eq!(refused(TlsArgs { tls_cert: None, ..files.args() }).setting, "SIMURGH_TLS_CERT");
    assert_eq!(refused(files.args()).setting, "SIMURGH_TLS_CERT", "not there");
    files.put();
    let key = fs::read_to_string(files.path("key.pem")).unwrap();
    fs::remove_file(files.path("key.pem")).unwrap();
    assert_eq!(refused(files.args()).setting, "SIMURGH_TLS_KEY");
    fs::write(files.path("key.pem"), key.replace("PRIVATE", "PUBLIC")).unwrap();
    assert_eq!(refused(files.args()).problem, "holds no private key in PEM");
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    fs::write(files.path("key.pem"), &other).unwrap();
    let bad = refused(files.args());
    assert!(bad.problem.starts_with("is not the key of the certificate"), "{bad}");
    assert!(!bad.problem.contains('\n') && !bad.problem.contains(&other[40..60]), "{bad}");
    fs::write(files.path("cert.pem"), &other).unwrap();
    assert_eq!(refused(files.args()).problem, "holds no certificate in PEM");
}
