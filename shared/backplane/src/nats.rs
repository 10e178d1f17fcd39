//! The bus on NATS, from server 2.11 on (per-message TTL).
//!
//! One connection a process. async-nats keeps it, subscribes again what was subscribed, and drops the newest message
//! of a subscription that is full. Here is added: errors at once while the connection is down, a bound on every wait,
//! a `subscribe` that waits until the server has it, and requests that leave nothing behind.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, HeaderMap, jetstream};
use async_trait::async_trait;
use bytes::Bytes;
use simurgh_env::Env;
use tokio::{
    sync::{broadcast, watch},
    time::timeout,
};

use self::{
    keys::{JETSTREAM_WAIT, Keys},
    pages::Pages,
    requests::Requests,
    status::Status,
};
use crate::{
    Bucket, Bus, BusError, Entry, Filter, Key, MAX_PAYLOAD_BYTES, Notice, OfflineLimits,
    SUBSCRIPTION_CAPACITY, Subject, Subscription, Trace, subject, subject::BucketSubjects, trace,
};

mod error;
mod keys;
mod offline;
mod pages;
mod requests;
mod settings;
mod status;
#[cfg(test)]
mod tests;

/// How often the server is asked whether it lives; two pings without an answer end the connection.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// The longest wait for room towards the server, and for a round trip.
const WRITE_WAIT: Duration = Duration::from_secs(5);

/// Where NATS is and how to enter. It may hold a password (in the URL), so it does not print.
#[derive(Clone)]
pub struct NatsConfig {
    /// One or more URLs, separated by commas: `nats://host:4222`, or `tls://` to insist on TLS.
    pub url: String,
    /// A credentials file (user JWT and seed), where the server wants one.
    pub creds: Option<PathBuf>,
    /// The certificates (PEM) to trust instead of the system's. Insists on TLS.
    pub ca: Option<PathBuf>,
    /// How many servers hold each bucket: 1 to 5, 3 in a cluster.
    pub replicas: usize,
    /// Sets apart the systems that share a NATS.
    pub namespace: String,
    /// The bounds of the stream of what users missed; none where there is no such stream.
    pub offline: Option<OfflineLimits>,
    /// What the connection is called in the server's lists: the process's id.
    pub name: String,
}

/// Why a configuration cannot be used. (A server that is out of reach is none of these: it is tried for ever.)
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A URL cannot be read.
    #[error("the NATS URL cannot be read")]
    Url(#[source] io::Error),
    /// The credentials file cannot be read, or holds no credentials.
    #[error("the NATS credentials file cannot be used")]
    Credentials(#[source] io::Error),
    /// The file of trusted certificates cannot be read, or holds none.
    #[error("the file of NATS' trusted certificates cannot be used")]
    Certificates(#[source] io::Error),
    /// async-nats gave up.
    #[error("NATS cannot be used")]
    Client(#[source] async_nats::ConnectError),
    /// The inboxes could not be made.
    #[error("NATS cannot be used")]
    Bus(#[source] BusError),
}

/// A connection to NATS.
pub struct NatsBus {
    client: Client,
    status: Arc<Status>,
    requests: Requests,
    jetstream: jetstream::Context,
    presence: BucketSubjects,
    leases: BucketSubjects,
    replicas: usize,
    offline: Option<jetstream::stream::Config>,
    /// Nobody listens there ([`subject::nobody`]).
    nobody: Subject,
}

impl NatsBus {
    /// Begins to connect, and returns at once. While no server answers, [`Bus::connected`] is false, calls fail, one
    /// line in the log says so, and attempts go on for ever. [`Notice::Reconnected`] is for later connections only.
    pub async fn connect(config: NatsConfig, env: Env) -> Result<Self, ConnectError> {
        let servers = config.servers()?;
        let named: Vec<String> =
            servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
        let status = Arc::new(Status::new(named.join(",")));
        let options = options(&config, &status, env.clone())?;
        let client = options.connect(servers).await.map_err(ConnectError::Client)?;
        let requests = Requests::new(client.clone(), &env).await.map_err(ConnectError::Bus)?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(JETSTREAM_WAIT);
        Ok(Self {
            client,
            status,
            requests,
            jetstream,
            presence: BucketSubjects::new(&config.namespace, Bucket::Presence),
            leases: BucketSubjects::new(&config.namespace, Bucket::Leases),
            replicas: config.replicas,
            offline: config.offline.map(|limits| offline::config(&config.namespace, limits, config.replicas)),
            nobody: subject::nobody(&config.namespace),
        })
    }

    /// Waits until the server has handled all that this connection sent before: it reads in order, and answers at once
    /// where nobody listens. (async-nats' own flush ends when the bytes are in the socket.)
    async fn round_trip(&self) -> Result<(), BusError> {
        let subject = self.nobody.as_str().to_owned();
        match self.requests.send(subject, None, Bytes::new(), WRITE_WAIT).await {
            Ok(_) | Err(BusError::NoResponders) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The keys of a bucket, while connected.
    fn keys(&self, bucket: Bucket) -> Result<Keys<'_>, BusError> {
        self.status.require()?;
        Ok(Keys { requests: &self.requests, jetstream: &self.jetstream, subjects: self.subjects(bucket) })
    }

    fn subjects(&self, bucket: Bucket) -> &BucketSubjects {
        match bucket {
            Bucket::Presence => &self.presence,
            Bucket::Leases => &self.leases,
        }
    }
}

fn options(config: &NatsConfig, status: &Arc<Status>, env: Env) -> Result<ConnectOptions, ConnectError> {
    let events = Arc::clone(status);
    let mut options = ConnectOptions::new()
        .name(&config.name)
        .retry_on_initial_connect()
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(move |attempt| status::reconnect_delay(&env, attempt))
        .event_callback(move |event| {
            events.on_event(&event);
            std::future::ready(())
        });
    if let Some(credentials) = config.credentials()? {
        options = options.credentials(&credentials).map_err(ConnectError::Credentials)?;
    }
    // async-nats takes no notice of those in its URLs.
    if let (None, Some((user, password))) = (&config.creds, config.user()?) {
        options = options.user_and_password(user, password);
    }
    if let Some(ca) = &config.ca {
        // async-nats reads it at each connection only, and would try for ever.
        config.authorities()?;
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    Ok(options)
}

fn check_size(payload: &Bytes) -> Result<(), BusError> {
    if payload.len() > MAX_PAYLOAD_BYTES { Err(BusError::TooLarge(payload.len())) } else { Ok(()) }
}

/// The headers of what is sent in a trace.
fn trace_header() -> Option<HeaderMap> {
    let trace = Trace::current()?;
    let mut headers = HeaderMap::new();
    headers.insert(trace::HEADER, trace.as_str());
    Some(headers)
}

/// Bounds the wait for room in async-nats' queue towards the server.
async fn in_time<T>(send: impl Future<Output = Result<T, BusError>>) -> Result<T, BusError> {
    let full = |_| BusError::Disconnected("the connection takes nothing".into());
    timeout(WRITE_WAIT, send).await.map_err(full)?
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        self.status.require()?;
        check_size(&payload)?;
        in_time(async {
            let subject = subject.as_str().to_owned();
            match trace_header() {
                Some(headers) => self.client.publish_with_headers(subject, headers, payload).await,
                None => self.client.publish(subject, payload).await,
            }
            .map_err(error::publish)
        })
        .await
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.status.require()?;
        self.round_trip().await
    }

    async fn subscribe(&self, subject: &Subject, queue: Option<&str>) -> Result<Subscription, BusError> {
        self.status.require()?;
        let subject = subject.as_str().to_owned();
        let subscriber = in_time(async {
            match queue {
                None => self.client.subscribe(subject).await,
                Some(queue) => self.client.queue_subscribe(subject, queue.to_owned()).await,
            }
            .map_err(error::subscribe)
        })
        .await?;
        self.round_trip().await?;
        Ok(Subscription::nats(subscriber))
    }

    async fn request(&self, subject: &Subject, payload: Bytes, wait: Duration) -> Result<Bytes, BusError> {
        self.status.require()?;
        check_size(&payload)?;
        let answer = self.requests.send(subject.as_str().to_owned(), trace_header(), payload, wait).await?;
        Ok(answer.payload)
    }

    async fn get(&self, bucket: Bucket, key: &Key) -> Result<Option<Entry>, BusError> {
        self.keys(bucket)?.get(key).await
    }

    async fn get_many(&self, bucket: Bucket, filters: &[Filter]) -> Result<Vec<Entry>, BusError> {
        self.status.require()?;
        Pages::new(&self.client, &self.requests, self.subjects(bucket)).read(filters).await
    }

    async fn put(&self, bucket: Bucket, key: &Key, value: Bytes) -> Result<u64, BusError> {
        self.keys(bucket)?.put(key, value).await
    }

    async fn update(&self, bucket: Bucket, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        self.keys(bucket)?.update(key, value, revision).await
    }

    async fn delete(&self, bucket: Bucket, key: &Key, revision: u64) -> Result<(), BusError> {
        self.keys(bucket)?.delete(key, revision).await
    }

    async fn ensure_buckets(&self) -> Result<(), BusError> {
        for bucket in Bucket::ALL {
            self.status.require()?;
            let config = keys::config(bucket, self.subjects(bucket), self.replicas);
            keys::ensure(&self.jetstream, config).await?;
        }
        Ok(())
    }

    async fn keep(&self, subject: &Subject, name: &str, payload: Bytes) -> Result<bool, BusError> {
        self.status.require()?;
        check_size(&payload)?;
        offline::keep(&self.requests, subject, name, payload).await
    }

    async fn ensure_offline(&self) -> Result<(), BusError> {
        self.status.require()?;
        match &self.offline {
            Some(config) => keys::ensure(&self.jetstream, config.clone()).await,
            None => Ok(()),
        }
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.status.connected()
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.status.notices()
    }
}
