//! The transport: UDP, TCP and TLS.
//!
//! Promises: only addresses that [`crate::address`] allows are connected to; what was written to a stream is kept for
//! [`ASSURANCE`] and written again after a connection broke, before anything newer. Must never write on after half a
//! message: a connection that failed or ran out of time is given up.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::config::{Config, Transport};
use super::request;
use super::secured::Connector;
use crate::address::Policy;
use crate::cause::Cause;
use crate::destination::Shaped;
use crate::tls;

/// A message counts as received when its connection has stood for this long after it was written.
pub const ASSURANCE: Duration = Duration::from_secs(5);
/// Most bytes that are kept for that. At a higher rate than this allows (400 KB/s), the oldest go before their time.
pub const WINDOW_BYTES: usize = 2 << 20;
/// After this, the kernel ends a connection whose peer acknowledges nothing: a peer that vanished without a word is
/// noticed while what it lost is still kept.
const UNACKNOWLEDGED: Duration = Duration::from_secs(4);
/// When an idle connection is asked whether its peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// After this the name is resolved anew for datagrams, which notice nothing of a receiver that moved.
const SOCKET_AGE: Duration = Duration::from_secs(30);
/// After so many connections in a row that ended before anything was assured, nothing newer is written until one stands.
const PATIENCE: u32 = 2;
/// For one address of several.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream to a receiver.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The transport of one destination.
pub struct Sender {
    host: String,
    port: u16,
    policy: Policy,
    link: Link,
}

enum Link {
    Datagrams { socket: Option<(Instant, UdpSocket)> },
    Stream { tls: Option<Connector>, stream: Option<Box<dyn Stream>>, window: Window },
}

/// What was written and may have been lost.
#[derive(Default)]
struct Window {
    messages: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// Connections in a row that ended with something in here, and before anything of it was assured.
    ended: u32,
}

impl Sender {
    /// A transport that is not connected yet.
    ///
    /// # Errors
    /// What of the TLS settings can not be used.
    pub fn new(
        config: &Config,
        settings: &tls::Settings,
        server_name: Option<&tls::ServerName>,
        policy: Policy,
    ) -> Result<Self, tls::Invalid> {
        let stream = |tls| Link::Stream { tls, stream: None, window: Window::default() };
        let link = match config.transport {
            Transport::Udp => Link::Datagrams { socket: None },
            Transport::Tcp => stream(None),
            Transport::Tls => {
                let name = server_name.map_or(config.host.as_str(), |server_name| server_name.name.as_str());
                let name = ServerName::try_from(name.to_owned()).map_err(|_| tls::Invalid::ServerName)?;
                stream(Some(Connector::new(settings.client_config(&[])?, name)))
            }
        };
        Ok(Self { host: config.host.clone(), port: config.port, policy, link })
    }

    /// Writes all messages within `timeout`, after those that a broken connection may have lost.
    ///
    /// # Errors
    /// Why it can not be known that all were written; some may have been.
    pub async fn send(&mut self, events: &[Shaped], timeout: Duration) -> Result<(), Cause> {
        let Self { host, port, policy, link } = self;
        let to = Target { host, port: *port, policy: *policy, deadline: Instant::now() + timeout };
        match link {
            Link::Datagrams { socket } => to.datagrams(socket, events).await,
            Link::Stream { tls, stream, window } => {
                window.settle(stream);
                // Out of its place while it is written to: on every other way out of here it is gone.
                let mut open = match stream.take() {
                    Some(open) => open,
                    None => to.reconnect(tls.as_ref(), window).await?,
                };
                if window.ended >= PATIENCE {
                    // Who takes a connection and ends it, again and again, delivers nothing: a load balancer without
                    // a receiver behind it, or a receiver that does not like us. What is not taken here can not be
                    // lost here.
                    *stream = Some(open);
                    return Err(Cause::Broken);
                }
                to.write(&mut open, request::joined(request::messages(events))).await?;
                *stream = Some(open);
                window.push(request::messages(events));
                Ok(())
            }
        }
    }

    /// Writes again what a broken connection may have lost. To be called every few seconds where there is nothing to
    /// send.
    ///
    /// # Errors
    /// Why it could not be written again; it is still kept.
    pub async fn check(&mut self, timeout: Duration) -> Result<(), Cause> {
        let Self { host, port, policy, link } = self;
        let Link::Stream { tls, stream, window } = link else { return Ok(()) };
        window.settle(stream);
        if stream.is_none() && !window.messages.is_empty() {
            let to = Target { host, port: *port, policy: *policy, deadline: Instant::now() + timeout };
            *stream = Some(to.reconnect(tls.as_ref(), window).await?);
        }
        Ok(())
    }

    /// Ends the connection, with TLS's `close_notify` (RFC 5425 4.4).
    pub async fn close(&mut self, timeout: Duration) {
        if let Link::Stream { stream, .. } = &mut self.link
            && let Some(mut open) = stream.take()
        {
            // Nobody is left to tell: a peer that is gone already ends the same way.
            let _ = timeout_at(Instant::now() + timeout, open.shutdown()).await;
        }
    }
}

/// Where to, until when.
struct Target<'a> {
    host: &'a str,
    port: u16,
    policy: Policy,
    deadline: Instant,
}

impl Target<'_> {
    async fn within<T>(&self, work: impl Future<Output = Result<T, Cause>>) -> Result<T, Cause> {
        timeout_at(self.deadline, work).await.unwrap_or(Err(Cause::Timeout))
    }

    async fn datagrams(&self, kept: &mut Option<(Instant, UdpSocket)>, events: &[Shaped]) -> Result<(), Cause> {
        self.within(async {
            let (since, socket) = match kept.take() {
                Some((since, socket)) if since.elapsed() < SOCKET_AGE => (since, socket),
                _ => (Instant::now(), self.socket().await?),
            };
            for message in request::messages(events) {
                socket.send(message).await.map_err(|_| Cause::Broken)?;
            }
            *kept = Some((since, socket));
            Ok(())
        })
        .await
    }

    async fn socket(&self) -> Result<UdpSocket, Cause> {
        for address in self.policy.resolve(self.host, self.port).await? {
            let any = match address {
                std::net::SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
                std::net::SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            if let Ok(socket) = UdpSocket::bind((any, 0)).await
                && socket.connect(address).await.is_ok()
            {
                return Ok(socket);
            }
        }
        Err(Cause::Connect)
    }

    /// A new connection on which everything in the window was written again.
    async fn reconnect(&self, tls: Option<&Connector>, window: &mut Window) -> Result<Box<dyn Stream>, Cause> {
        let mut open = self.within(self.connect(tls)).await?;
        if !window.messages.is_empty() {
            self.write(&mut open, request::joined(window.messages.iter().map(|(_, message)| message))).await?;
            window.written_again();
        }
        Ok(open)
    }

    async fn connect(&self, tls: Option<&Connector>) -> Result<Box<dyn Stream>, Cause> {
        let mut last = Cause::Connect;
        for address in self.policy.resolve(self.host, self.port).await? {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            let tcp = match connected {
                Ok(Ok(tcp)) => tcp,
                Ok(Err(_)) => continue,
                Err(_) => {
                    last = Cause::Timeout;
                    continue;
                }
            };
            set_options(&tcp).map_err(|_| Cause::Connect)?;
            return match tls {
                None => Ok(Box::new(tcp)),
                Some(connector) => {
                    connector.connect(tcp, self.deadline).await.map(|secured| Box::new(secured) as Box<dyn Stream>)
                }
            };
        }
        Err(last)
    }

    async fn write(&self, stream: &mut Box<dyn Stream>, bytes: Bytes) -> Result<(), Cause> {
        self.within(async {
            let written = async {
                stream.write_all(&bytes).await?;
                stream.flush().await
            };
            written.await.map_err(|error| Cause::find(&error).unwrap_or(Cause::Broken))
        })
        .await
    }
}

fn set_options(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

impl Window {
    /// Forgets what is assured: what was written long enough ago on a connection that stands. A connection that does
    /// not is given up, and everything that was not assured when it still stood is kept.
    fn settle(&mut self, stream: &mut Option<Box<dyn Stream>>) {
        if !stream.as_mut().is_some_and(stands) {
            if stream.take().is_some() && !self.messages.is_empty() {
                self.ended += 1;
            }
            return;
        }
        while self.messages.front().is_some_and(|(written, _)| written.elapsed() > ASSURANCE) {
            self.pop();
            self.ended = 0;
        }
    }

    fn push<'a>(&mut self, messages: impl Iterator<Item = &'a Bytes>) {
        let now = Instant::now();
        for message in messages {
            self.bytes += message.len();
            self.messages.push_back((now, message.clone()));
        }
        while self.bytes > WINDOW_BYTES {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, message)) = self.messages.pop_front() {
            self.bytes -= message.len();
        }
    }

    fn written_again(&mut self) {
        let now = Instant::now();
        self.messages.iter_mut().for_each(|(written, _)| *written = now);
    }
}

/// Whether the peer has neither closed nor reset the connection, as far as this machine knows by now. Receivers say
/// nothing; what one says all the same is thrown away.
fn stands(stream: &mut Box<dyn Stream>) -> bool {
    // Nobody waits for what may come: the next look finds it.
    let mut context = Context::from_waker(Waker::noop());
    let mut space = [0; 1_024];
    // A peer that never stops to talk is looked at no longer than this.
    for _ in 0..64 {
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(&mut *stream).poll_read(&mut context, &mut buffer) {
            Poll::Pending => return true,
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return false,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return false,
        }
    }
    true
}
