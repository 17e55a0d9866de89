//! A TLS connection to a receiver, made to the end: until the receiver has let the client in.
//!
//! Promises: in TLS 1.3 a client's handshake ends before the server has looked at its certificate, and what is written
//! then goes nowhere if the server refuses it. So the server's next word is waited for: a ticket or an alert.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ProtocolVersion, SignatureScheme};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cause::Cause;

/// How long that word is waited for, and never longer than half of the attempt's time. It comes one round trip after the
/// handshake; a server that gives no tickets (syslog-ng) has nothing to say, and costs this much for each connection.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Makes connections to one receiver.
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    pub(super) fn new(config: ClientConfig, name: ServerName<'static>) -> Self {
        Self { config: Arc::new(config), name }
    }

    pub(super) async fn connect(&self, tcp: TcpStream, deadline: Instant) -> Result<TlsStream<TcpStream>, Cause> {
        let certificate = Arc::new(Noting {
            certificate: Arc::clone(&self.config.client_auth_cert_resolver),
            asked: AtomicBool::new(false),
        });
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = Arc::clone(&certificate) as Arc<dyn ResolvesClientCert>;
        let secured = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), tcp).await;
        let mut secured = secured.map_err(|error| Cause::find(&error).unwrap_or(Cause::Broken))?;
        let asked = certificate.asked.load(Ordering::Relaxed);
        if asked && secured.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            let wait = LAST_WORD.min((deadline - Instant::now()) / 2);
            tokio::time::timeout(wait, last_word(&mut secured)).await.unwrap_or(Ok(()))?;
        }
        Ok(secured)
    }
}

/// The client certificate, or none, and whether the server asked for one.
#[derive(Debug)]
struct Noting {
    certificate: Arc<dyn ResolvesClientCert>,
    asked: AtomicBool,
}

impl ResolvesClientCert for Noting {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.certificate.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.certificate.has_certs()
    }
}

async fn last_word(secured: &mut TlsStream<TcpStream>) -> Result<(), Cause> {
    let mut space = [0; 1_024];
    std::future::poll_fn(|context| {
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(&mut *secured).poll_read(context, &mut buffer) {
            // Tickets are no data; a server sends them when it has let the client in.
            Poll::Pending if secured.get_ref().1.tls13_tickets_received() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(Cause::Broken)),
            // No receiver of syslog says anything; one that does is there.
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Cause::find(&error).unwrap_or(Cause::Broken))),
        }
    })
    .await
}
