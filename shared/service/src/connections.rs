//! Where connections come from: a TCP listener, or memory in tests and in the simulation.

use std::{
    fmt,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::sleep,
};

/// The first and the longest pause after an accept that failed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Bytes that one direction of an in-memory connection holds: about what a kernel's socket buffer does.
const MEMORY_BYTES: usize = 64 * 1024;

/// In-memory connections that wait to be accepted.
const MEMORY_BACKLOG: usize = 1024;

/// A source of connections.
pub trait Connections: Send + 'static {
    /// One connection's byte stream.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection and the address it comes from; `None` once no more can come. Safe to drop and call again.
    fn accept(&mut self) -> impl Future<Output = Option<(Self::Io, SocketAddr)>> + Send;
}

/// Connections of a TCP listener, without Nagle's delay. Never ends.
#[derive(Debug)]
pub struct TcpConnections {
    listener: TcpListener,
    /// How long to wait before the next accept; set while accepting fails.
    pause: Option<Duration>,
}

impl TcpConnections {
    /// The listener's connections.
    #[must_use]
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, pause: None }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connections for TcpConnections {
    type Io = TcpStream;

    async fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            if let Some(pause) = self.pause {
                sleep(pause).await;
            }
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.pause = None;
                    // Fails only where the peer is gone already, which the first read tells.
                    let _ = stream.set_nodelay(true);
                    return Some((stream, peer));
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    if self.pause.is_none() {
                        tracing::warn!(%error, "cannot accept connections: check the limit on open files");
                    }
                    self.pause = Some(next_pause(self.pause));
                }
            }
        }
    }
}

/// Whether accepting failed for that one peer only. Anything else (no file descriptor, no memory) stays for a while,
/// and trying at once again would spin.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn next_pause(last: Option<Duration>) -> Duration {
    last.map_or(PAUSE.0, |last| (last * 2).min(PAUSE.1))
}

/// Connections within the process. Ends when every [`MemoryConnector`] is gone.
#[derive(Debug)]
pub struct MemoryConnections(mpsc::Receiver<(DuplexStream, SocketAddr)>);

/// The clients' side of [`MemoryConnections`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryConnector(mpsc::Sender<(DuplexStream, SocketAddr)>);

/// Nobody accepts any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody accepts connections here any more")
    }
}

impl std::error::Error for Refused {}

impl MemoryConnections {
    /// A source without connections yet, and the way to make some.
    #[must_use]
    pub fn new() -> (MemoryConnector, Self) {
        let (sender, receiver) = mpsc::channel(MEMORY_BACKLOG);
        (MemoryConnector(sender), Self(receiver))
    }
}

impl Connections for MemoryConnections {
    type Io = DuplexStream;

    async fn accept(&mut self) -> Option<(DuplexStream, SocketAddr)> {
        self.0.recv().await
    }
}

impl MemoryConnector {
    /// A connection from 127.0.0.1; waits while too many wait to be accepted.
    ///
    /// # Errors
    /// [`Refused`] once the other side is gone.
    pub async fn connect(&self) -> Result<DuplexStream, Refused> {
        self.connect_from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// The same from `peer`.
    ///
    /// # Errors
    /// [`Refused`] once the other side is gone.
    pub async fn connect_from(&self, peer: SocketAddr) -> Result<DuplexStream, Refused> {
        let (ours, theirs) = duplex(MEMORY_BYTES);
        self.0.send((theirs, peer)).await.map_err(|_| Refused)?;
        Ok(ours)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn tcp_connections_have_no_nagle_and_a_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut connections = TcpConnections::new(listener);
        let client = TcpStream::connect(connections.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = connections.accept().await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[tokio::test]
    async fn memory_connections_carry_bytes_and_end() {
        let (connector, mut connections) = MemoryConnections::new();
        let peer = SocketAddr::from(([10, 0, 0, 7], 9));
        let mut client = connector.connect_from(peer).await.unwrap();
        let (mut server, from) = connections.accept().await.unwrap();
        assert_eq!(from, peer);
        client.write_all(b"hello").await.unwrap();
        let mut bytes = [0; 5];
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");

        let other = connector.clone();
        drop(connector);
        drop(other);
        assert!(connections.accept().await.is_none());
    }

    #[tokio::test]
    async fn connecting_where_nobody_accepts_is_refused() {
        let (connector, connections) = MemoryConnections::new();
        drop(connections);
        assert_eq!(connector.connect().await.unwrap_err(), Refused);
    }

    #[test]
    fn failing_to_accept_backs_off_up_to_a_second() {
        let pauses: Vec<_> =
            std::iter::successors(Some(next_pause(None)), |last| Some(next_pause(Some(*last))))
                .map(|pause| pause.as_millis())
                .take(9)
                .collect();
        assert_eq!(pauses, [5u128, 10, 20, 40, 80, 160, 320, 640, 1000]);
        assert!(is_the_peers(&io::ErrorKind::ConnectionAborted.into()));
        let too_many_open_files = io::Error::from_raw_os_error(24);
        assert!(!is_the_peers(&too_many_open_files));
    }
}
