//! Serving connections until told to stop, and then until they are finished.
//!
//! Promises: every connection's task is awaited; there are at most [`MAX_CONNECTIONS`]; one that sends no request in
//! time, or that is idle, is closed. Must never let one connection's failure touch another.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// From connection to the end of a request's headers, and for the TLS handshake.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// An HTTP/2 connection without a request is closed after this; one of HTTP/1.1 after [`HEADER_TIMEOUT`].
const IDLE: Duration = Duration::from_secs(120);
/// More connections than this wait in the backlog of the kernel until others end.
const MAX_CONNECTIONS: usize = 8_192;
/// After a failed accept (too many open files): not at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then waits for what is open, at most until `give_up`.
pub async fn serve<H, F, T>(
    listener: TcpListener,
    handle: H,
    tls: T,
    stop: CancellationToken,
    give_up: CancellationToken,
) where
    H: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
    T: Fn() -> Option<Arc<rustls::ServerConfig>>,
{
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Finished connections are reaped, so that the set does not grow.
        while connections.try_join_next().is_some() {}
        let next = async {
            let place = room.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, (stream, peer)) = tokio::select! {
            () = stop.cancelled() => break,
            (place, accepted) = next => match accepted {
                Ok(accepted) => (place, accepted),
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Small messages are not held back.
        let _ = stream.set_nodelay(true);
        let served = connection(stream, peer, handle.clone(), tls(), stop.clone(), give_up.clone(), graceful.watcher());
        connections.spawn(async move {
            served.await;
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = give_up.cancelled() => {}
    }
    while connections.join_next().await.is_some() {}
}

async fn connection<H, F>(
    stream: TcpStream,
    peer: SocketAddr,
    handle: H,
    tls: Option<Arc<rustls::ServerConfig>>,
    stop: CancellationToken,
    give_up: CancellationToken,
    watcher: hyper_util::server::graceful::Watcher,
) where
    H: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let activity = Activity::new();
    let mut idle = Box::pin(activity.idle());
    let service = service_fn(move |request: Request<Incoming>| {
        // The timer of HTTP/1.1 looks after itself; the streams of HTTP/2 are counted to the end of their answers.
        let busy = activity.begin(request.version());
        let answer = handle(peer, request);
        async move {
            let response = answer.await;
            Ok::<_, Infallible>(match busy {
                None => response,
                Some(busy) => response.map(|body| Body::new(Counted { body, _busy: busy })),
            })
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
    let result = match tls {
        None => {
            let served = builder.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                result = watcher.watch(served.into_owned()) => result,
                () = &mut idle => return,
                () = give_up.cancelled() => return,
            }
        }
        Some(config) => {
            let accept = tokio_rustls::TlsAcceptor::from(config).accept(stream);
            let stream = tokio::select! {
                stream = tokio::time::timeout(HEADER_TIMEOUT, accept) => stream,
                () = stop.cancelled() => return,
            };
            let Ok(Ok(stream)) = stream else {
                tracing::debug!(%peer, "no TLS handshake");
                return;
            };
            let served = builder.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                result = watcher.watch(served.into_owned()) => result,
                () = &mut idle => return,
                () = give_up.cancelled() => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// What a connection does, as far as it matters for how long it is kept.
struct Activity(watch::Sender<Seen>);

#[derive(Clone, Copy, Default)]
struct Seen {
    /// A request of HTTP/1 was read, whose timer takes over from here.
    http1: bool,
    /// A request of HTTP/2 was read.
    http2: bool,
    /// Streams of HTTP/2 that are open.
    streams: usize,
}

impl Activity {
    fn new() -> Self {
        Self(watch::Sender::new(Seen::default()))
    }

    /// A request begins; what it gives is held until the answer is finished.
    fn begin(&self, version: Version) -> Option<Busy> {
        if version != Version::HTTP_2 {
            self.0.send_if_modified(|seen| !std::mem::replace(&mut seen.http1, true));
            return None;
        }
        self.0.send_modify(|seen| {
            seen.http2 = true;
            seen.streams += 1;
        });
        Some(Busy(self.0.clone()))
    }

    /// Ends when the connection has had no request for too long. hyper has no limit of its own for the time before
    /// it knows the version, nor for a connection of HTTP/2 without a stream.
    fn idle(&self) -> impl Future<Output = ()> + use<> {
        let mut seen = self.0.subscribe();
        async move {
            loop {
                let now = *seen.borrow_and_update();
                let limit = match now {
                    Seen { http1: true, .. } => return std::future::pending().await,
                    Seen { streams: 1.., .. } => None,
                    Seen { http2: true, .. } => Some(IDLE),
                    _ => Some(HEADER_TIMEOUT),
                };
                let change = seen.changed();
                let changed = match limit {
                    None => change.await,
                    Some(limit) => match tokio::time::timeout(limit, change).await {
                        Ok(changed) => changed,
                        Err(_) => return,
                    },
                };
                if changed.is_err() {
                    // The service is gone, and the connection with it.
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// A stream of HTTP/2 that is open.
struct Busy(watch::Sender<Seen>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|seen| seen.streams = seen.streams.saturating_sub(1));
    }
}

/// An answer that counts as open until it is gone.
struct Counted {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ends_after(idle: impl Future<Output = ()>, limit: Duration) -> bool {
        let began = tokio::time::Instant::now();
        let ended = tokio::time::timeout(Duration::from_secs(3_600), idle).await.is_ok();
        ended && began.elapsed() >= limit && began.elapsed() < limit + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn connection_without_a_request_is_not_kept() {
        let activity = Activity::new();
        assert!(ends_after(activity.idle(), HEADER_TIMEOUT).await);
    }

    #[tokio::test(start_paused = true)]
    async fn http2_connection_is_kept_while_an_answer_is_open_and_not_for_ever_after_it() {
        let activity = Activity::new();
        let idle = activity.idle();
        let busy = activity.begin(Version::HTTP_2);
        tokio::pin!(idle);
        assert!(tokio::time::timeout(Duration::from_secs(86_400), &mut idle).await.is_err());
        drop(busy);
        assert!(ends_after(idle, IDLE).await);
    }

    #[tokio::test(start_paused = true)]
    async fn http1_connection_is_left_to_the_timer_of_its_headers() {
        let activity = Activity::new();
        let idle = activity.idle();
        assert!(activity.begin(Version::HTTP_11).is_none());
        assert!(tokio::time::timeout(Duration::from_secs(86_400), idle).await.is_err());
    }
}
