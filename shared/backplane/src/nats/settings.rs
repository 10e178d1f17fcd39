//! What of a configuration can be seen to be unusable before anything connects.

use std::{fs, io};

use async_nats::{
    ConnectOptions, ServerAddr,
    rustls::{
        RootCertStore,
        pki_types::{CertificateDer, pem::PemObject},
    },
};

use percent_encoding::percent_decode_str;

use super::{ConnectError, NatsConfig};

impl NatsConfig {
    /// Reads the URL and the files as [`NatsBus::connect`](super::NatsBus::connect) would.
    ///
    /// # Errors
    /// What cannot be used, and why; it says no secret.
    pub fn check(&self) -> Result<(), ConnectError> {
        self.servers()?;
        if let Some(credentials) = self.credentials()? {
            ConnectOptions::with_credentials(&credentials).map_err(ConnectError::Credentials)?;
        }
        self.authorities()
    }

    pub(super) fn servers(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        self.url.split(',').map(|url| server(url.trim()).map_err(ConnectError::Url)).collect()
    }

    /// The user and password of the first URL that names them.
    pub(super) fn user(&self) -> Result<Option<(String, String)>, ConnectError> {
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let servers = self.servers()?;
        let user = servers.iter().find_map(|server| {
            let user = server.username().filter(|user| !user.is_empty())?;
            Some((plain(user), plain(server.password().unwrap_or_default())))
        });
        Ok(user)
    }

    pub(super) fn credentials(&self) -> Result<Option<String>, ConnectError> {
        self.creds.as_ref().map(fs::read_to_string).transpose().map_err(ConnectError::Credentials)
    }

    /// Whether each certificate in the file can be trusted, and there is one.
    pub(super) fn authorities(&self) -> Result<(), ConnectError> {
        let Some(path) = &self.ca else { return Ok(()) };
        let pem = fs::read(path).map_err(ConnectError::Certificates)?;
        let unusable =
            |why: String| ConnectError::Certificates(io::Error::new(io::ErrorKind::InvalidData, why));
        let mut trusted = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            trusted.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if trusted.is_empty() { Err(unusable("there is no certificate in it".to_owned())) } else { Ok(()) }
    }
}

/// async-nats takes a URL for granted that names a host.
fn server(url: &str) -> io::Result<ServerAddr> {
    let server: ServerAddr = url.parse()?;
    match server.clone().into_inner().host_str() {
        Some(host) if !host.is_empty() => Ok(server),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no host")),
    }
}
