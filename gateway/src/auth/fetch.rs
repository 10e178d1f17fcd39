//! One HTTP GET, bounded in time, bytes and redirects: all that asking an issuer for its keys takes.

use std::{io, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use url::{Host, Url};

/// Bytes of an answer's head.
const HEAD_BYTES: usize = 16 * 1024;

/// What one look may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FetchLimits {
    /// From the look-up of the name to the last byte, redirects included.
    pub time: Duration,
    /// Bytes of the body.
    pub bytes: usize,
    /// Redirects that are followed.
    pub redirects: usize,
}

/// Why there is no answer. Says nothing of the URL, which the caller knows.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("it did not answer in time")]
    TooSlow,
    #[error("it cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    #[error("it does not prove to be who it should be: {0}")]
    Tls(#[source] io::Error),
    #[error("it does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("it redirects too often")]
    Redirects,
    #[error("it redirects to where it must not")]
    Astray,
}

/// Asks.
pub(super) struct Fetcher {
    tls: TlsConnector,
    limits: FetchLimits,
}

/// What a request came to.
enum Heard {
    Body(Bytes),
    Redirect(Url),
}

impl Fetcher {
    /// Trusts servers whose certificates one of `roots` has signed.
    ///
    /// # Errors
    /// Where this build has no usable version of TLS.
    pub(super) fn new(
        roots: RootCertStore,
        limits: FetchLimits,
    ) -> Result<Self, tokio_rustls::rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), limits })
    }

    /// The body at `url`.
    ///
    /// # Errors
    /// [`FetchError`] where there is none within the limits.
    pub(super) async fn get(&self, url: &Url) -> Result<Bytes, FetchError> {
        timeout(self.limits.time, self.get_following(url)).await.unwrap_or(Err(FetchError::TooSlow))
    }

    async fn get_following(&self, url: &Url) -> Result<Bytes, FetchError> {
        let mut url = url.clone();
        for _ in 0..=self.limits.redirects {
            match self.get_once(&url).await? {
                Heard::Body(body) => return Ok(body),
                // What came over TLS must not be had from anybody in between after all.
                Heard::Redirect(next) if url.scheme() == "https" && next.scheme() != "https" => {
                    return Err(FetchError::Astray);
                }
                Heard::Redirect(next) => url = next,
            }
        }
        Err(FetchError::Redirects)
    }

    async fn get_once(&self, url: &Url) -> Result<Heard, FetchError> {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(FetchError::Astray);
        };
        let tcp = match host {
            Host::Domain(name) => TcpStream::connect((name, port)).await,
            Host::Ipv4(address) => TcpStream::connect((address, port)).await,
            Host::Ipv6(address) => TcpStream::connect((address, port)).await,
        };
        let tcp = tcp.map_err(FetchError::Unreachable)?;
        match url.scheme() {
            "http" => self.exchange(tcp, url).await,
            "https" => {
                let name = server_name(&host).ok_or(FetchError::Astray)?;
                let tls = Box::pin(self.tls.connect(name, tcp)).await.map_err(FetchError::Tls)?;
                self.exchange(tls, url).await
            }
            _ => Err(FetchError::Astray),
        }
    }

    async fn exchange(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send,
        url: &Url,
    ) -> Result<Heard, FetchError> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES);
        let (mut sender, connection) = builder.handshake(TokioIo::new(io)).await?;
        let mut answer = pin!(async {
            let response = sender.send_request(request(url)?).await?;
            self.heard(response, url).await
        });
        tokio::select! {
            biased;
            heard = &mut answer => heard,
            // It has ended, and what it brought may not have been read yet.
            _ = connection => answer.await,
        }
    }

    async fn heard(&self, response: Response<Incoming>, url: &Url) -> Result<Heard, FetchError> {
        let (head, body) = response.into_parts();
        if head.status.is_redirection() {
            let location = head.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            return next.map(Heard::Redirect).ok_or(FetchError::Status(head.status));
        }
        if head.status != StatusCode::OK {
            return Err(FetchError::Status(head.status));
        }
        match Limited::new(body, self.limits.bytes).collect().await {
            Ok(collected) => Ok(Heard::Body(collected.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge(self.limits.bytes)),
            Err(error) => Err(error.downcast::<hyper::Error>().map_or_else(
                |error| FetchError::Unreachable(io::Error::other(error)),
                |error| (*error).into(),
            )),
        }
    }
}

fn server_name(host: &Host<&str>) -> Option<ServerName<'static>> {
    match host {
        Host::Domain(name) => ServerName::try_from((*name).to_owned()).ok(),
        Host::Ipv4(address) => Some(std::net::IpAddr::from(*address).into()),
        Host::Ipv6(address) => Some(std::net::IpAddr::from(*address).into()),
    }
}

fn request(url: &Url) -> Result<Request<Empty<Bytes>>, FetchError> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() =
        url[url::Position::BeforePath..url::Position::AfterQuery].parse().map_err(|_| FetchError::Astray)?;
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(authority).map_err(|_| FetchError::Astray)?);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, application/jwk-set+json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("simurgh-gateway"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}
