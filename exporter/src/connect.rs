//! Connections of the HTTP client: TCP to an address that is allowed, a proxy's tunnel, TLS.
//!
//! Promises: the address that is connected to is one that [`crate::address`] allows; TLS asks for and checks the
//! destination's server name where it has one; a connection is there within [`ESTABLISH_TIMEOUT`] or not at all.
//!
//! With a proxy, every connection is a tunnel that the proxy makes (`CONNECT`, RFC 9110 9.3.6), but those to a Service
//! of the cluster (`NAME.NS.svc`), which a proxy outside of it could not reach. It is then the proxy that resolves
//! names, so only literal addresses are checked here; what names may lead to is for the proxy to say. The proxy's own
//! address is not checked at all: no author of a SiemExport names it, but who owns the pool. TLS goes through the
//! tunnel, so the proxy sees host and port and nothing else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls_pki_types::InvalidDnsNameError;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::Service;
use url::Url;

use crate::address::{Policy, is_cluster_service};
use crate::cause::Cause;
use crate::destination::invalid::Invalid;
use crate::tls;

/// For all addresses of a host: one that does not answer leaves time for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For TCP, the proxy's tunnel and TLS. An attempt may end before, while its connection is still being made.
const ESTABLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// When an idle connection is asked whether its peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// After this, the kernel ends a connection whose peer acknowledges nothing.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Most bytes of a proxy's answer.
const MAX_TUNNEL_BYTES: usize = 8 << 10;

/// A proxy that an administrator set for the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
}

impl Proxy {
    /// From its URL.
    ///
    /// # Errors
    /// What is no `http://HOST:PORT`. A proxy with a password or with TLS of its own is not supported.
    pub fn new(url: &Url) -> Result<Self, Invalid> {
        let bare = url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none();
        match (url.scheme(), url.host_str(), url.port_or_known_default()) {
            ("http", Some(host), Some(port)) if bare => Ok(Self { host: unbracketed(host).to_owned(), port }),
            _ => Err(Invalid::new("proxy", "must be http://HOST:PORT, without user, path and query")),
        }
    }
}

/// How a client reaches its destination.
#[derive(Clone, Debug)]
pub struct Way {
    /// Which addresses are allowed.
    pub policy: Policy,
    /// The name that one host's certificate is for, where it is not the host's.
    pub server_name: Option<tls::ServerName>,
    /// Through which connections go.
    pub proxy: Option<Proxy>,
}

pub(crate) type Connection = MaybeHttpsStream<TokioIo<TcpStream>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The client's connector.
#[derive(Clone, Debug)]
pub(crate) struct Connector(HttpsConnector<Dialer>);

impl Connector {
    /// With TLS as in `settings`; `alpn` is what it offers to speak.
    pub(crate) fn new(settings: &tls::Settings, alpn: &[&[u8]], way: Way) -> Result<Self, tls::Invalid> {
        let Way { policy, server_name, proxy } = way;
        let name = move |uri: &Uri| -> Result<ServerName<'static>, InvalidDnsNameError> {
            let host = unbracketed(uri.host().unwrap_or_default());
            let name = match &server_name {
                Some(alias) if unbracketed(&alias.host).eq_ignore_ascii_case(host) => &alias.name,
                _ => host,
            };
            ServerName::try_from(name.to_owned())
        };
        let dialer = Dialer { policy, proxy: proxy.map(Arc::new) };
        Ok(Self(HttpsConnector::new(dialer, settings.client_config(alpn)?, false, Arc::new(name))))
    }
}

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Connection, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(ESTABLISH_TIMEOUT, self.0.call(uri));
        async move { connecting.await.unwrap_or_else(|_| Err(Cause::Timeout.into())) }.boxed()
    }
}

/// Makes TCP connections, through the proxy where there is one.
#[derive(Clone, Debug)]
struct Dialer {
    policy: Policy,
    proxy: Option<Arc<Proxy>>,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = Cause;
    type Future = BoxFuture<'static, Result<TokioIo<TcpStream>, Cause>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { policy, proxy } = self.clone();
        async move {
            let host = unbracketed(uri.host().ok_or(Cause::Resolve)?);
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
            let stream = match proxy.filter(|_| !is_cluster_service(host)) {
                None => connect(policy.resolve(host, port).await?).await?,
                Some(proxy) => {
                    if host.parse::<IpAddr>().is_ok_and(|address| !policy.allows(address)) {
                        return Err(Cause::RefusedAddress);
                    }
                    proxy.tunnel(host, port).await?
                }
            };
            Ok(TokioIo::new(stream))
        }
        .boxed()
    }
}

impl Proxy {
    /// A connection to `host` that the proxy makes.
    async fn tunnel(&self, host: &str, port: u16) -> Result<TcpStream, Cause> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(|_| Cause::Proxy)?;
        let mut stream = connect(found.collect()).await.map_err(|_| Cause::Proxy)?;
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|_| Cause::Proxy)?;
        let mut head = Vec::with_capacity(256);
        while !head.ends_with(b"\r\n\r\n") {
            // One byte at a time: what follows the head belongs to the tunnel.
            match stream.read_u8().await {
                Ok(byte) if head.len() < MAX_TUNNEL_BYTES => head.push(byte),
                _ => return Err(Cause::Proxy),
            }
        }
        let made = head.starts_with(b"HTTP/1.") && head.get(8..10) == Some(b" 2");
        if made { Ok(stream) } else { Err(Cause::Proxy) }
    }
}

/// To the first address that answers.
async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, Cause> {
    let each = CONNECT_TIMEOUT / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = Cause::Connect;
    for address in addresses {
        match tokio::time::timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                set_options(&stream).map_err(|_| Cause::Connect)?;
                return Ok(stream);
            }
            Ok(Err(_)) => {}
            Err(_) => last = Cause::Timeout,
        }
    }
    Err(last)
}

fn set_options(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_is_a_host_and_a_port_and_nothing_is_repeated_of_another() {
        let proxy = |text: &str| Proxy::new(&text.parse().unwrap());
        assert_eq!(proxy("http://proxy.corp.svc:3128").unwrap(), Proxy { host: "proxy.corp.svc".into(), port: 3128 });
        assert_eq!(proxy("http://[2001:db8::1]").unwrap(), Proxy { host: "2001:db8::1".into(), port: 80 });
        for bad in ["https://a:1", "http://u:hunter2@a:1", "http://a/x", "http://a?x", "socks5://a:1"] {
            let error = proxy(bad).unwrap_err();
            assert_eq!(error.to_string(), "proxy: must be http://HOST:PORT, without user, path and query");
        }
    }
}
