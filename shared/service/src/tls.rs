//! TLS on a listener: rustls with ring, and keys that can be changed while it listens.

use std::{
    fs, io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use clap::Args;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    signal::unix::Signal,
};
use tokio_rustls::{
    Accept, TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
    server::TlsStream,
};
use tokio_util::sync::CancellationToken;

use crate::config::BadSetting;

mod listener;

pub use listener::{MaybeTls, MaybeTlsConnections};

/// Where a listener's certificate and key are. Without them it speaks plain HTTP, for a proxy in front.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// PEM file with the public listener's certificate, and those that lead to a trusted one; read again on SIGHUP
    #[arg(long, env = "SIMURGH_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's private key; read again on SIGHUP
    #[arg(long, env = "SIMURGH_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// Why a certificate and a key cannot be used. Says nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of certificates cannot be read.
    #[error("cannot be read: {0}")]
    Certificate(#[source] io::Error),
    /// There is none in it.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// The key's file cannot be read.
    #[error("cannot be read: {0}")]
    Key(#[source] io::Error),
    /// There is none in it.
    #[error("holds no private key in PEM")]
    NoKey,
    /// The two do not go together, or rustls knows no such key.
    #[error("is not the key of the certificate in SIMURGH_TLS_CERT: {0}")]
    Mismatch(#[source] rustls::Error),
    /// No version of TLS.
    #[error("{0}")]
    Versions(#[source] rustls::Error),
}

impl From<TlsError> for BadSetting {
    fn from(error: TlsError) -> Self {
        let setting = match error {
            TlsError::Certificate(_) | TlsError::NoCertificate | TlsError::Versions(_) => "SIMURGH_TLS_CERT",
            TlsError::Key(_) | TlsError::NoKey | TlsError::Mismatch(_) => "SIMURGH_TLS_KEY",
        };
        Self::new(setting, error.to_string())
    }
}

impl TlsArgs {
    /// Reads the files; `None` where there is to be no TLS.
    ///
    /// # Errors
    /// [`BadSetting`] where one is missing, or cannot be used.
    pub fn load(&self) -> Result<Option<Arc<TlsKeys>>, BadSetting> {
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(Arc::new(TlsKeys::load(cert.clone(), key.clone())?))),
            (Some(_), None) => Err(BadSetting::new("SIMURGH_TLS_KEY", "is required beside SIMURGH_TLS_CERT")),
            (None, Some(_)) => Err(BadSetting::new("SIMURGH_TLS_CERT", "is required beside SIMURGH_TLS_KEY")),
        }
    }
}

/// A listener's certificate and key.
pub struct TlsKeys {
    cert: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

/// What handshakes use from now on.
#[derive(Debug)]
struct Current(Mutex<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl TlsKeys {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`] where they cannot be used.
    pub fn load(cert: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let current = Arc::new(Current(Mutex::new(Arc::new(read(&cert, &key)?))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        // A WebSocket begins as HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { cert, key, current, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Reads the files again. Handshakes from then on use what is in them; where they cannot be used, what was there.
    ///
    /// # Errors
    /// [`TlsError`] where they cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read(&self.cert, &self.key)?);
        *self.current.0.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Reads the files again at each of these signals, until `stopped`.
    pub async fn follow(self: Arc<Self>, mut hangups: Signal, stopped: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                signal = hangups.recv() => if signal.is_none() {
                    return;
                }
            }
            match self.reload() {
                Ok(()) => tracing::info!("SIGHUP: new connections get the certificate that is there now"),
                Err(error) => tracing::error!(
                    error = %BadSetting::from(error),
                    "SIGHUP: the certificate and key from before still hold: put a pair that goes together there and send it again"
                ),
            }
        }
    }

    fn accept<Io: AsyncRead + AsyncWrite + Unpin>(&self, io: Io) -> Accept<Io> {
        self.acceptor.accept(io)
    }
}

fn read(cert: &PathBuf, key: &PathBuf) -> Result<CertifiedKey, TlsError> {
    let chain = fs::read(cert).map_err(TlsError::Certificate)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|_: pem::Error| TlsError::NoCertificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = fs::read(key).map_err(TlsError::Key)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| TlsError::NoKey)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Mismatch)
}

/// A connection whose handshake goes on with its first reads: so it takes no time of the listener's, and falls under the
/// time that a request's head has.
pub struct TlsIo<Io>(State<Io>);

enum State<Io> {
    Handshake(Box<Accept<Io>>),
    Open(Box<TlsStream<Io>>),
    /// The handshake failed.
    Failed,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> TlsIo<Io> {
    fn new(accept: Accept<Io>) -> Self {
        Self(State::Handshake(Box::new(accept)))
    }

    /// The stream, once the handshake is over.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TlsStream<Io>>>> {
        if let State::Handshake(accept) = &mut self.0 {
            match ready!(Pin::new(accept.as_mut()).poll(context)) {
                Ok(stream) => self.0 = State::Open(Box::new(stream)),
                Err(error) => {
                    self.0 = State::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        match &mut self.0 {
            State::Open(stream) => Poll::Ready(Ok(Pin::new(stream.as_mut()))),
            State::Handshake(_) | State::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsIo<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?.poll_read(context, buffer)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsIo<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing was written yet.
        if matches!(self.0, State::Handshake(_)) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_open(context))?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Open(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            // There is nobody to say goodbye to; dropping it closes the connection.
            State::Handshake(_) | State::Failed => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests;
