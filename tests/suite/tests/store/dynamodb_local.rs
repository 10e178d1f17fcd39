//! AWS's DynamoDB Local, the nearest to the service that runs on one machine.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use simurgh_worker::store::{Store, contract};

use super::connect;

/// DynamoDB Local as a process, ended with this value.
struct DynamoDbLocal {
    process: Child,
    endpoint: String,
    _folder: tempfile::TempDir,
}

impl DynamoDbLocal {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let installed = installed();
        let libraries = installed.join("DynamoDBLocal_lib");
        // It leaves files where it runs.
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new("java")
            .arg(format!("-Djava.library.path={}", libraries.display()))
            .arg("-jar")
            .arg(installed.join("DynamoDBLocal.jar"))
            .args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port", &port.to_string()])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`java` starts: tests/run says how to install it");
        Self { process, endpoint: format!("http://127.0.0.1:{port}"), _folder: folder }
    }

    /// The store on it, once it serves.
    async fn store(&mut self) -> impl Store {
        let store = connect(&self.endpoint).await;
        let serves = async {
            while let Err(error) = store.ready().await {
                let ended = self.process.try_wait().unwrap();
                assert!(ended.is_none(), "DynamoDB Local ended ({ended:?}) while it started: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), serves)
            .await
            .expect("DynamoDB Local serves in a minute");
        store
    }
}

impl Drop for DynamoDbLocal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn installed() -> PathBuf {
    let folder = std::env::var_os("SIMURGH_TEST_DYNAMODB_LOCAL").expect(
        "SIMURGH_TEST_DYNAMODB_LOCAL names the folder of DynamoDBLocal.jar: `tests/run` sets it, \
         and `python3 tests/tools/fetch.py` fetches and names it",
    );
    let folder = Path::new(&folder).to_owned();
    assert!(folder.join("DynamoDBLocal.jar").is_file(), "no DynamoDBLocal.jar in {}", folder.display());
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_local_keeps_the_contract_of_a_store() {
    let mut server = DynamoDbLocal::start();
    let store = server.store().await;
    contract::run(Arc::new(store)).await;
}
