//! Taking a port.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel holds until they are accepted: room for a storm of reconnects (the kernel's own limit,
/// `net.core.somaxconn`, still holds).
const BACKLOG: u32 = 4_096;

/// A port that could not be taken, in one line.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({setting}): {}", reason(.cause))]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// The environment variable that says so.
    pub setting: &'static str,
    /// What the operating system said.
    cause: io::Error,
}

fn reason(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "another program uses this port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "this port needs more rights".to_owned(),
        _ => cause.to_string(),
    }
}

/// Listens on `address`, which the environment variable `setting` names. Port 0 takes a free one.
///
/// # Errors
/// [`BindError`], which a `main` hands to [`crate::exit_code`].
pub fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, BindError> {
    listen(address).map_err(|cause| BindError { address, setting, cause })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the last run's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_told_in_one_line() {
        let first = bind("127.0.0.1:0".parse().unwrap(), "SIMURGH_LISTEN").unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, "SIMURGH_LISTEN").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot listen on {address} (SIMURGH_LISTEN): another program uses this port")
        );
    }
}
