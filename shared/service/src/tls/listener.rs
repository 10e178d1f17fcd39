//! A TCP listener, with TLS or without.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{TlsIo, TlsKeys};
use crate::{Connections, TcpConnections};

/// Connections of a TCP listener.
pub struct MaybeTlsConnections {
    tcp: TcpConnections,
    keys: Option<Arc<TlsKeys>>,
}

impl MaybeTlsConnections {
    /// With TLS where there are keys.
    #[must_use]
    pub fn new(tcp: TcpConnections, keys: Option<Arc<TlsKeys>>) -> Self {
        Self { tcp, keys }
    }
}

/// One connection.
pub enum MaybeTls {
    /// Without.
    Plain(TcpStream),
    /// With. In a box: it is a kilobyte, which each connection without would take as well.
    Tls(Box<TlsIo<TcpStream>>),
}

impl Connections for MaybeTlsConnections {
    type Io = MaybeTls;

    async fn accept(&mut self) -> Option<(MaybeTls, SocketAddr)> {
        let (stream, peer) = self.tcp.accept().await?;
        let io = match &self.keys {
            None => MaybeTls::Plain(stream),
            Some(keys) => MaybeTls::Tls(Box::new(TlsIo::new(keys.accept(stream)))),
        };
        Some((io, peer))
    }
}

/// The same call on whichever it is.
macro_rules! on {
    ($self:ident, $io:ident => $call:expr) => {
        match &mut *$self {
            MaybeTls::Plain($io) => {
                let $io = Pin::new($io);
                $call
            }
            MaybeTls::Tls($io) => {
                let $io = Pin::new($io);
                $call
            }
        }
    };
}

impl AsyncRead for MaybeTls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on!(self, io => io.poll_read(context, buffer))
    }
}

impl AsyncWrite for MaybeTls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on!(self, io => io.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on!(self, io => io.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, io => io.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, io => io.poll_shutdown(context))
    }
}
