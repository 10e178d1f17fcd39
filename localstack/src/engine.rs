//! The DynamoDB engine of the local stack: dynoxide on SQLite, in memory or on a file.
//!
//! It runs on a thread and a runtime of its own: SQLite blocks while it writes, and the gateway's and the worker's
//! tasks must not wait for that. When that runtime ends, every handle on the file is closed.

use std::{
    fmt,
    fs::{File, TryLockError},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use dynoxide::{Database, server};
use tokio::{runtime, sync::oneshot};
use tokio_util::sync::CancellationToken;

/// The database in the data folder. Beside it SQLite keeps `dynamodb.sqlite-wal` and `dynamodb.sqlite-shm`.
const FILE: &str = "dynamodb.sqlite";
/// Held while an engine runs on the folder: SQLite itself would let two of them in.
const LOCK_FILE: &str = "dynamodb.lock";
/// How long requests under way at the shutdown may take.
const GRACE: Duration = Duration::from_secs(2);

/// How often expired items are taken away; the first time at the start.
const SWEEP: Duration = Duration::from_hours(1);

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    /// Where it listens, as `http://127.0.0.1:40961`.
    pub endpoint: String,
    stopped: oneshot::Receiver<()>,
}

impl Engine {
    /// Waits until the engine has ended, after its shutdown, and its files are closed.
    pub async fn stopped(self) {
        // An error is a thread that ended without a word; it has ended.
        let _ = self.stopped.await;
    }
}

/// Why an engine did not start.
#[derive(Debug)]
pub enum EngineError {
    /// The data folder or a file in it cannot be made or written.
    Unusable(PathBuf, io::Error),
    /// Another process (or another engine of this one) runs on the data folder.
    InUse(PathBuf),
    /// The database does not open: it is damaged, or a newer version's.
    Unreadable(PathBuf, String),
    /// No port, no thread or no memory.
    System(io::Error),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(path, error) => {
                write!(f, "{} cannot be used for data: {error}; choose another folder", path.display())
            }
            Self::InUse(path) => {
                write!(f, "the data in {} is in use by another local stack; stop that one", path.display())
            }
            Self::Unreadable(path, error) => {
                write!(f, "{} does not open: {error}; move it away to start anew", path.display())
            }
            Self::System(error) => write!(f, "the DynamoDB engine cannot start: {error}"),
        }
    }
}

impl std::error::Error for EngineError {}

/// Starts an engine on a free port of the loopback interface, with its data in the folder `data` or, without one, in
/// memory. It is ready when this returns, and ends after `shutdown`.
///
/// # Errors
/// Where the folder cannot be used or something else uses it; each error says which and what to do.
pub async fn start(data: Option<PathBuf>, shutdown: CancellationToken) -> Result<Engine, EngineError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(EngineError::System)?;
    listener.set_nonblocking(true).map_err(EngineError::System)?;
    let address = listener.local_addr().map_err(EngineError::System)?;
    let (started, start) = oneshot::channel();
    let (ended, stopped) = oneshot::channel();
    let engine = move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        match runtime.map_err(EngineError::System).and_then(|runtime| Ok((runtime, open(data.as_deref())?))) {
            Ok((runtime, (database, lock))) => {
                // Connections wait in the listener's queue until the loop runs.
                let _ = started.send(Ok(()));
                runtime.block_on(serve(listener, database, shutdown));
                // Connections that are still open hold the database.
                drop(runtime);
                drop(lock);
            }
            Err(error) => drop(started.send(Err(error))),
        }
        let _ = ended.send(());
    };
    thread::Builder::new().name("dynamodb".to_owned()).spawn(engine).map_err(EngineError::System)?;
    start.await.map_err(|_| EngineError::System(io::Error::other("its thread died")))??;
    Ok(Engine { endpoint: endpoint(address), stopped })
}

fn endpoint(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Opens the database; the file is the lock on its folder.
fn open(data: Option<&Path>) -> Result<(Database, Option<File>), EngineError> {
    let Some(folder) = data else {
        let database = Database::memory().map_err(|error| EngineError::System(io::Error::other(error)))?;
        return Ok((database, None));
    };
    let unusable = |error| EngineError::Unusable(folder.to_owned(), error);
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let lock = File::create(folder.join(LOCK_FILE)).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(EngineError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let file = folder.join(FILE);
    let Some(path) = file.to_str() else {
        return Err(unusable(io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8")));
    };
    let database =
        Database::new(path).map_err(|error| EngineError::Unreadable(file.clone(), error.to_string()))?;
    Ok((database, Some(lock)))
}

/// Serves until `shutdown`, and [`GRACE`] longer where requests are under way.
async fn serve(listener: TcpListener, database: Database, shutdown: CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the DynamoDB engine cannot listen"),
    };
    let swept = sweep(database.clone());
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        result = server::serve_with_shutdown(listener, database, shutdown.clone().cancelled_owned()) => {
            if let Err(error) = result {
                tracing::error!(%error, "the DynamoDB engine ended: start the local stack again");
            }
        }
        () = late => tracing::warn!("the DynamoDB engine left requests unanswered"),
        () = swept => {}
    }
}

/// Takes expired items away from time to time: the engine does not by itself. A sweep goes through the tables page by page
/// and lets requests go first between pages; it runs on a thread of its own, for it blocks.
async fn sweep(database: Database) {
    loop {
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(items)) => tracing::debug!(items, "expired items were taken away"),
            Ok(Err(error)) => tracing::warn!(%error, "expired items were not taken away"),
            Err(error) => tracing::warn!(%error, "expired items were not taken away"),
        }
        tokio::time::sleep(SWEEP).await;
    }
}

#[cfg(test)]
mod tests {
    use simurgh_env::Env;
    use simurgh_protocol::{Raw, Timestamp};
    use simurgh_worker::store::{
        Consistency, Expect, Key, Store, Write,
        dynamo::{DynamoConfig, DynamoStore},
    };

    use super::*;

    async fn run<T>(folder: &Path, task: impl AsyncFnOnce(&DynamoStore, &Env) -> T) -> T {
        let shutdown = CancellationToken::new();
        let engine = start(Some(folder.to_owned()), shutdown.clone()).await.unwrap();
        let config = DynamoConfig {
            table: "simurgh".to_owned(),
            endpoint: Some(engine.endpoint.clone()),
            create_table: true,
        };
        let env = Env::system();
        let metrics = std::sync::Arc::new(simurgh_worker::metrics::Metrics::new().unwrap());
        let store = DynamoStore::connect_within(config, env.clone(), metrics, Duration::from_secs(20)).await;
        store.ready().await.unwrap();
        let done = task(&store, &env).await;
        shutdown.cancel();
        engine.stopped().await;
        done
    }

    #[tokio::test]
    async fn what_expired_is_taken_away_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let key = |sk: &str| Key { pk: "p".to_owned(), sk: sk.to_owned() };
        run(folder.path(), async |store, env| {
            let now = env.now();
            let before = Timestamp::from_millis(now.as_millis() - 60_000);
            for (sk, expires_at) in [("gone", Some(before)), ("kept", None), ("later", Some(now.plus(SWEEP)))]
            {
                let write = Write { key: key(sk), body: Raw::empty(), expires_at, expect: Expect::Absent };
                store.put(write).await.unwrap();
            }
        })
        .await;
        run(folder.path(), async |store, _| {
            let found = async |sk| store.get(&key(sk), Consistency::Strong).await.unwrap().is_some();
            while found("gone").await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(found("kept").await && found("later").await);
        })
        .await;
    }
}
