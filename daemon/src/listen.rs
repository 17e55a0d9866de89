//! Binding a port.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(1);

/// Binds a port, trying again while somebody else has it.
pub async fn bind_until(port: u16, what: &'static str, stop: &CancellationToken) -> Option<TcpListener> {
    let mut told = false;
    loop {
        let error = match bind(port).await {
            Ok(listener) => {
                tracing::info!(port, what, "listening");
                return Some(listener);
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut told, true) {
            tracing::error!(port, what, %error, "port not bound, trying again");
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Both families; IPv4 alone where the machine has no IPv6.
async fn bind(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).await,
        bound => bound,
    }
}
