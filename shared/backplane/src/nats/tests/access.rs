//! Entering: certificates and credentials are honoured, and a server that refuses is not entered without them.

use std::{fs, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{config, connect, server::Server, stands};
use crate::{
    Bucket, SharedBus,
    nats::{ConnectError, NatsBus, NatsConfig},
    subject,
};

#[tokio::test]
async fn a_server_is_trusted_by_the_certificates_given_and_by_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, other_ca) = (directory.path().join("ca.pem"), directory.path().join("other.pem"));
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    write_certificates(&ca, &cert, &key);
    write_certificates(&other_ca, &directory.path().join("x"), &directory.path().join("y"));
    let tls = ["--tls", "--tlscert", cert.to_str().unwrap(), "--tlskey", key.to_str().unwrap()];
    let server = Server::start(&tls).await;

    let bus = connect(NatsConfig { ca: Some(ca), ..config(&server) }).await;
    stands(&bus).await;
    works(&bus).await;
    refuses(NatsConfig { ca: Some(other_ca), ..config(&server) }).await;
    refuses(config(&server)).await;
}

#[tokio::test]
async fn certificates_given_insist_on_tls() {
    let directory = tempfile::tempdir().unwrap();
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| directory.path().join(name));
    write_certificates(&ca, &cert, &key);
    let plain = Server::start(&[]).await;
    refuses(NatsConfig { ca: Some(ca), ..config(&plain) }).await;
}

#[tokio::test]
async fn credentials_let_in_where_the_server_wants_them() {
    let directory = tempfile::tempdir().unwrap();
    let creds = write_accounts(&directory);
    let accounts = directory.path().join("accounts.conf");
    let accounts = ["-c", accounts.to_str().unwrap()];
    let server = Server::start(&accounts).await;

    let bus = connect(NatsConfig { creds: Some(creds), ..config(&server) }).await;
    stands(&bus).await;
    works(&bus).await;
    refuses(config(&server)).await;
}

#[tokio::test]
async fn files_that_are_not_there_are_named_at_once() {
    let nowhere = |creds: Option<PathBuf>, ca: Option<PathBuf>, url: &str| {
        let (url, namespace, name) = (url.into(), "test".into(), "a test".into());
        let config = NatsConfig { url, creds, ca, replicas: 1, namespace, offline: None, name };
        async { NatsBus::connect(config, simurgh_env::Env::system()).await.err() }
    };
    let missing = || Some(PathBuf::from("/does/not/exist"));
    let url = "nats://127.0.0.1:1";
    assert!(matches!(nowhere(missing(), None, url).await, Some(ConnectError::Credentials(_))));
    assert!(matches!(nowhere(None, missing(), url).await, Some(ConnectError::Certificates(_))));
    assert!(matches!(nowhere(None, None, "http://host").await, Some(ConnectError::Url(_))));
    assert!(nowhere(None, None, "nats://127.0.0.1:1, 127.0.0.1:2").await.is_none());
}

#[test]
fn what_cannot_be_used_is_seen_before_anything_connects() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let check = |creds: Option<PathBuf>, ca: Option<PathBuf>, url: &str| {
        let (url, namespace, name) = (url.into(), "test".into(), "a test".into());
        NatsConfig { url, creds, ca, replicas: 1, namespace, offline: None, name }.check()
    };
    let url = "tls://me:secret@host:4222,nats://127.0.0.1";
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| directory.path().join(name));
    write_certificates(&ca, &cert, &key);
    assert!(check(Some(write_accounts(&directory)), Some(ca.clone()), url).is_ok());
    for url in ["nats://127.0.0.1:notaport", "nats://127.0.0.1:99999", "nats:///x", "nats://a,nats://[", ""] {
        assert!(matches!(check(None, None, url), Err(ConnectError::Url(_))), "{url}");
    }
    for creds in [file("no.creds", "nothing"), Some(ca)] {
        assert!(matches!(check(creds, None, url), Err(ConnectError::Credentials(_))));
    }
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for ca in [file("empty.pem", ""), file("damaged.pem", damaged), Some(key)] {
        assert!(matches!(check(None, ca.clone(), url), Err(ConnectError::Certificates(_))), "{ca:?}");
    }
}

async fn works(bus: &SharedBus) {
    bus.ensure_buckets().await.unwrap();
    let key = subject::lease_key("g1");
    let revision = bus.put(Bucket::Leases, &key, "here".into()).await.unwrap();
    assert_eq!(bus.get(Bucket::Leases, &key).await.unwrap().map(|entry| entry.revision), Some(revision));
    let entries = bus.get_many(Bucket::Leases, &[subject::all_leases()]).await.unwrap();
    assert_eq!(entries.len(), 1);
}

/// Three seconds hold several attempts.
pub(super) async fn refuses(config: NatsConfig) {
    let bus = connect(config).await;
    let mut connected = bus.connected();
    assert!(timeout(Duration::from_secs(3), connected.wait_for(|stands| *stands)).await.is_err());
}

/// An authority's certificate, and a server's for 127.0.0.1 with its key.
fn write_certificates(ca: &PathBuf, cert: &PathBuf, key: &PathBuf) {
    let (ca_key, server_key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(ca, params.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    fs::write(cert, params.signed_by(&server_key, &issuer).unwrap().pem()).unwrap();
    fs::write(key, server_key.serialize_pem()).unwrap();
}

/// A server's configuration with an operator and an account, and the credentials of a user of that account.
fn write_accounts(directory: &TempDir) -> PathBuf {
    let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
    let (account, user) = (KeyPair::new_account(), KeyPair::new_user());
    let all = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1,
        "wildcards": true, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let limits = json!({ "type": "account", "version": 2, "limits": all });
    let no_streams = json!({ "type": "account", "version": 2, "limits": {
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1,
    }});
    let root = json!({ "type": "operator", "version": 2, "system_account": system.public_key() });
    let text = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}\n",
        jwt(&operator, &operator, &root),
        system.public_key(),
        system.public_key(),
        jwt(&operator, &system, &no_streams),
        account.public_key(),
        jwt(&operator, &account, &limits),
    );
    fs::write(directory.path().join("accounts.conf"), text).unwrap();
    let rights =
        json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {} });
    let creds = directory.path().join("user.creds");
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt(&account, &user, &rights),
        user.seed().unwrap(),
    );
    fs::write(&creds, text).unwrap();
    creds
}

/// A claim about `subject` that `issuer` signs (NATS' own kind of JWT).
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": "test", "iat": 0, "name": "test", "iss": issuer.public_key(), "sub": subject.public_key(), "nats": nats,
    });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
