//! Serving connections until told to stop, and then until they are finished.
//!
//! Promises: every connection's task is awaited; a connection that sends no request in time is closed. Must
//! never let one connection's failure touch another.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// From connection to the end of a request's headers, and for the TLS handshake.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
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
    loop {
        // Finished connections are reaped, so that the set does not grow.
        while connections.try_join_next().is_some() {}
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Small messages are not held back.
        let _ = stream.set_nodelay(true);
        connections.spawn(connection(
            stream,
            peer,
            handle.clone(),
            tls(),
            stop.clone(),
            give_up.clone(),
            graceful.watcher(),
        ));
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
    let service = service_fn(move |request| {
        let answer = handle(peer, request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
    let result = match tls {
        None => {
            let served = builder.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                result = watcher.watch(served.into_owned()) => result,
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
                () = give_up.cancelled() => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
