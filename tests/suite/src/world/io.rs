//! A process's connections: silent while it is stopped, cut once it is dead.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use simurgh_service::{Connections, MemoryConnections};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::link::{Life, Link};

/// The connections that a process accepts.
pub struct LinkedConnections {
    connections: MemoryConnections,
    link: Arc<Link>,
}

/// One of them.
pub struct LinkedIo {
    io: DuplexStream,
    link: Arc<Link>,
    stream: u64,
}

impl LinkedConnections {
    /// These connections, as far as the link lets them through.
    #[must_use]
    pub fn new(connections: MemoryConnections, link: Arc<Link>) -> Self {
        Self { connections, link }
    }
}

impl Connections for LinkedConnections {
    type Io = LinkedIo;

    async fn accept(&mut self) -> Option<(LinkedIo, SocketAddr)> {
        let (io, peer) = self.connections.accept().await?;
        self.link.runs().await.ok()?;
        let (link, stream) = (Arc::clone(&self.link), self.link.stream());
        Some((LinkedIo { io, link, stream }, peer))
    }
}

impl LinkedIo {
    /// What keeps this part (0 reads, 1 writes) from going on.
    fn stopped(&self, part: u64, context: &Context<'_>) -> Option<Life> {
        self.link.wake_later(self.stream + part, context.waker());
        Some(self.link.life()).filter(|life| *life != Life::Runs)
    }
}

impl Drop for LinkedIo {
    fn drop(&mut self) {
        self.link.forget(self.stream);
    }
}

fn cut<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for LinkedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.stopped(0, context) {
            Some(Life::Dead) => cut(),
            Some(_) => Poll::Pending,
            None => Pin::new(&mut self.io).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for LinkedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.stopped(1, context) {
            Some(Life::Dead) => cut(),
            Some(_) => Poll::Pending,
            None => Pin::new(&mut self.io).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stopped(1, context) {
            Some(Life::Dead) => cut(),
            Some(_) => Poll::Pending,
            None => Pin::new(&mut self.io).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
