//! Real nats-servers for a test, on ports of their own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::sleep;

/// The variable that names the server's program.
const PROGRAM: &str = "SIMURGH_TEST_NATS_SERVER";

/// A server that runs until it is dropped.
pub(super) struct Server {
    process: Process,
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
}

struct Process(Child);

impl Server {
    /// Starts a server with JetStream and further arguments.
    pub(super) async fn start(arguments: &[&str]) -> Self {
        let mut server = Self::begin(arguments);
        server.listen().await;
        server
    }

    /// Starts a cluster of three, without waiting for its election of a leader.
    pub(super) async fn start_cluster() -> [Self; 3] {
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let routes = listeners.map(|free| format!("nats://{}", free.local_addr().unwrap()));
        let all = routes.join(",");
        let mut names = ["n1", "n2", "n3"].into_iter();
        let mut servers = routes.map(|own| {
            let name = names.next().unwrap();
            Self::begin(&["--cluster_name", "test", "-n", name, "--cluster", &own, "--routes", &all])
        });
        for server in &mut servers {
            server.listen().await;
        }
        servers
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends the process without warning.
    pub(super) fn kill(&mut self) {
        self.process.end();
    }

    /// Stops the process, which keeps its connections and answers nothing any more.
    pub(super) fn freeze(&self) {
        let stopped = Command::new("kill").args(["-STOP", &self.process.0.id().to_string()]).status();
        assert!(stopped.unwrap().success());
    }

    /// Starts the server again on the same port, after [`Self::kill`].
    pub(super) async fn restart(&mut self) {
        self.process = run(self.directory.path(), &self.port.to_string(), &self.arguments);
        self.listen().await;
    }

    /// Forgets streams, between [`Self::kill`] and [`Self::restart`].
    pub(super) fn forget(&self) {
        fs::remove_dir_all(store(self.directory.path())).unwrap();
    }

    fn begin(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        // Port -1 stands for any that is free.
        let process = run(directory.path(), "-1", &arguments);
        Self { process, port: 0, arguments, directory }
    }

    /// Waits until the server listens, and learns its port.
    async fn listen(&mut self) {
        let directory = self.directory.path();
        let mut text = String::new();
        for _ in 0..1000 {
            text = fs::read_to_string(log(directory)).unwrap();
            if let Some(port) = port_in(&text) {
                self.port = port;
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("the server does not listen:\n{text}");
    }
}

impl Process {
    fn end(&mut self) {
        // Fails when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn store(directory: &Path) -> PathBuf {
    directory.join("store")
}

fn log(directory: &Path) -> PathBuf {
    directory.join("log")
}

fn run(directory: &Path, port: &str, arguments: &[String]) -> Process {
    let program = std::env::var_os(PROGRAM).unwrap_or_else(|| {
        panic!("set {PROGRAM} to a nats-server (2.11 or later): tests/tools/fetch.py gets one")
    });
    let mut command = Command::new(&program);
    command.args(["-a", "127.0.0.1", "-p", port, "-js", "-sd"]).arg(store(directory));
    command.args(arguments);
    // What infra/nats/accounts.conf asks its environment for.
    for role in ["gateway", "worker", "push"] {
        let variable = format!("SIMURGH_NATS_{}_PASSWORD", role.to_uppercase());
        command.env(variable, format!("{role}-password"));
    }
    command.stdout(Stdio::null()).stderr(fs::File::create(log(directory)).unwrap());
    Process(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display())))
}

/// The port that the log names once the server listens. (Its ports file is not written where other ports, a cluster's,
/// take more than 5 s to open.)
fn port_in(log: &str) -> Option<u16> {
    let (_, address) = log.split_once("Listening for client connections on ")?;
    log.contains("Server is ready").then_some(())?;
    address.lines().next()?.rsplit(':').next()?.parse().ok()
}
