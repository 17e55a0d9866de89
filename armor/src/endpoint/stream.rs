//! `GET /mcp` and `DELETE /mcp`: the stream and the end of a legacy client's session.
//!
//! Promises: a stream may be silent for ever and is kept alive; it ends when the process shuts down. Clients of
//! 2026-07-28 have neither.

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::context::Context;
use super::follow::Resumed;
use super::forward::{self, Outgoing};
use super::{legacy, listen, post, reply};
use crate::mcp::jsonrpc::{RpcError, code};
use crate::mcp::{Era, headers};
use crate::session::Session;
use crate::session::store::close;
use crate::stream::relay::Relay;
use crate::upstream::exchange::is_event_stream;
use crate::upstream::{Fault, Server};

/// Opens the stream.
pub async fn open(ctx: &Context) -> Response<Body> {
    if !ctx.headers.contains_key(headers::SESSION_ID) {
        return reply::method_not_allowed("POST");
    }
    if !post::accepts(&ctx.headers, "text/event-stream") {
        let error = RpcError::new(code::INVALID_REQUEST, "Accept must list text/event-stream");
        return post::refuse(ctx, Some("GET"), StatusCode::NOT_ACCEPTABLE, &error, None);
    }
    let session = match legacy::session(ctx) {
        Ok(session) => session,
        Err((status, error)) => return post::refuse(ctx, Some("GET"), status, &error, None),
    };
    match ctx.running.unprefixed() {
        Some(server) => pass_through(ctx, server, &session).await,
        None => listen::legacy(ctx),
    }
}

/// The stream of the one server of an unprefixed pool.
async fn pass_through(
    ctx: &Context,
    server: &std::sync::Arc<Server>,
    session: &std::sync::Arc<Session>,
) -> Response<Body> {
    let out = Outgoing {
        method: "",
        body: Bytes::new(),
        name: None,
        era: Era::Legacy,
        session: Some(session),
        endless: false,
        unspoken: false,
    };
    let mut lost_before = false;
    loop {
        let opened = async {
            let speech = session.speech(server).await?;
            let mut head = forward::headers_for(ctx, server, &out, Some(&speech));
            if let Some(last) = ctx.headers.get(headers::LAST_EVENT_ID) {
                head.insert(headers::LAST_EVENT_ID, last.clone());
            }
            let sent = server.send(Method::GET, head, Bytes::new(), server.timeout).await?;
            Ok::<_, Fault>((speech, sent))
        };
        let (speech, response) = match opened.await {
            Ok(opened) => opened,
            Err(fault) => return refused(server, &fault),
        };
        let status = response.status();
        if status.is_success() && is_event_stream(response.headers()) {
            let draining = ctx.gateway.draining.clone().cancelled_owned();
            let relay = Relay::events(response.into_body(), Resumed(session.clone()), None).cut_when(draining);
            return reply::events(Body::new(relay));
        }
        match status.as_u16() {
            // The server offers none, which clients expect to be possible.
            405 => return reply::method_not_allowed("POST, DELETE"),
            400 | 404 if !lost_before => {
                session.lost(server, &speech).await;
                lost_before = true;
            }
            _ => return refused(server, &Fault::status(status)),
        }
    }
}

/// A stream is no request that could be answered with an error, so that only a status can tell.
fn refused(server: &Server, fault: &Fault) -> Response<Body> {
    tracing::debug!(server = %server.name, reason = fault.reason.as_str(), %fault, "stream not opened");
    let error = fault.to_rpc(server.name.as_ref());
    reply::error(StatusCode::BAD_GATEWAY, &error, None)
}

/// Ends the session, and the sessions with servers that were opened for it.
pub async fn end(ctx: &Context) -> Response<Body> {
    if !ctx.headers.contains_key(headers::SESSION_ID) {
        return reply::method_not_allowed("POST");
    }
    let session = match legacy::session(ctx) {
        Ok(session) => session,
        Err((status, error)) => return post::refuse(ctx, Some("DELETE"), status, &error, None),
    };
    ctx.gateway.sessions.end(&session, legacy::now_seconds());
    if let Some(server) = ctx.running.unprefixed()
        && session.ticket.upstream.is_some()
    {
        // It may have been opened by another replica: then it is only known from the id.
        if let Err(fault) = session.speech(server).await {
            tracing::debug!(%fault, "session not ended");
        }
    }
    close(std::slice::from_ref(&session)).await;
    reply::empty(StatusCode::OK)
}
