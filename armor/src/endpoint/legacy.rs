//! Messages of clients up to revision 2025-11-25, which have sessions.
//!
//! Promises: a session id is checked before anything is done for it; `initialize` is answered for the pool as
//! a whole, but with one unprefixed server by that server. Must never show a caller a server's session id.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::asked;
use super::context::Context;
use super::dispatch;
use super::forward::{self, Outgoing};
use super::post::{RESPONSE, name_tool, refuse};
use super::{pool, reply};
use crate::mcp::envelope::{Message, Request, text};
use crate::mcp::jsonrpc::{self, RpcError, code};
use crate::mcp::{Era, LEGACY, headers, legacy_revision};
use crate::session::seal::{MAX_CLIENT_BYTES, Ticket, UpstreamTicket};
use crate::session::{Session, store::NoSession};
use crate::upstream::Server;

/// Answers a message.
pub async fn message(ctx: &Context, message: Message<'_>, body: &Bytes) -> Response<Body> {
    if let Message::Request(request) = &message
        && request.method == "initialize"
    {
        return initialize(ctx, request, body).await;
    }
    let session = match session(ctx) {
        Ok(session) => session,
        Err((status, error)) => return no_session(ctx, &message, body.len(), status, &error),
    };
    match &message {
        Message::Request(request) => dispatch::legacy(ctx, request, body, &session).await,
        Message::Notification(request) => {
            notification(ctx, request, body, &session).await;
            reply::empty(StatusCode::ACCEPTED)
        }
        Message::Response { id } => {
            match ctx.running.unprefixed() {
                Some(server) => forward::notify(ctx, server, &outgoing("", body, &session)).await,
                None => asked::respond(ctx, &session, id, body).await,
            }
            reply::empty(StatusCode::ACCEPTED)
        }
    }
}

/// The session that a request names.
///
/// # Errors
/// 400 without one, 404 for one that is not accepted: then the client begins anew.
pub fn session(ctx: &Context) -> Result<Arc<Session>, (StatusCode, RpcError)> {
    let Some(id) = ctx.headers.get(headers::SESSION_ID) else {
        return Err((
            StatusCode::BAD_REQUEST,
            RpcError::new(code::INVALID_REQUEST, "the header Mcp-Session-Id is missing: send initialize first"),
        ));
    };
    let ticket = ctx.running.sealer.open(id.as_bytes());
    let resumed = ctx.gateway.sessions.resume(ticket, &ctx.principal.digest, now_seconds());
    resumed.map_err(|why| {
        tracing::debug!(?why, request = %ctx.request_id, "session not accepted");
        let text = match why {
            NoSession::Ended => "the session has ended: send initialize again",
            _ => "the session is not known: send initialize again",
        };
        (StatusCode::NOT_FOUND, RpcError::new(code::INVALID_REQUEST, text))
    })
}

fn no_session(
    ctx: &Context,
    message: &Message<'_>,
    bytes: usize,
    status: StatusCode,
    error: &RpcError,
) -> Response<Body> {
    match message {
        Message::Request(request) => {
            let mut record = ctx.record(request, Era::Legacy, None, bytes);
            name_tool(&mut record, request);
            record.bad_request(status.as_u16(), error);
            reply::error(status, error, request.id)
        }
        Message::Notification(request) => refuse(ctx, Some(&request.method), status, error, None),
        Message::Response { .. } => refuse(ctx, Some(RESPONSE), status, error, None),
    }
}

async fn notification(ctx: &Context, request: &Request<'_>, body: &Bytes, session: &Arc<Session>) {
    if let Some(server) = ctx.running.unprefixed() {
        return forward::notify(ctx, server, &outgoing(&request.method, body, session)).await;
    }
    // Each session with a server began with its own.
    if request.method == "notifications/initialized" {
        return;
    }
    // Which server it is meant for can not be seen; one that it means nothing to ignores it.
    let open = session.open_speeches().await;
    let out = outgoing(&request.method, body, session);
    // A session may outlive the configuration of a server that it was opened with.
    let known = open.iter().filter(|(server, _)| ctx.running.servers.iter().any(|s| Arc::ptr_eq(s, server)));
    let told = known.map(|(server, _)| forward::notify(ctx, server, &out));
    futures::future::join_all(told).await;
}

fn outgoing<'a>(method: &'a str, body: &Bytes, session: &'a Arc<Session>) -> Outgoing<'a> {
    Outgoing {
        method,
        body: body.clone(),
        name: None,
        era: Era::Legacy,
        session: Some(session),
        endless: false,
        unspoken: false,
    }
}

async fn initialize(ctx: &Context, request: &Request<'_>, body: &Bytes) -> Response<Body> {
    let mut record = ctx.record(request, Era::Legacy, None, body.len());
    let wanted = text(request.params.protocol_version);
    let revision = wanted.as_deref().and_then(legacy_revision).unwrap_or(LEGACY[0]);
    if !ctx.running.speaks(Era::Legacy) {
        // Clients of this era cannot go on from here, but their users can read it.
        let (_, error) =
            super::judge::unsupported_but(wanted.as_deref().unwrap_or_default(), &super::judge::supported(true, false));
        record.refused(crate::audit::ErrorCause::Revision, &error);
        return reply::error(StatusCode::OK, &error, request.id);
    }
    let ticket = Ticket {
        id: rand::random(),
        created: now_seconds(),
        principal: ctx.principal.digest,
        revision,
        client: client_params(request, revision),
        upstream: None,
    };
    if let Some(server) = ctx.running.unprefixed() {
        record.route(server.name.as_ref(), None);
        let out = Outgoing {
            method: "initialize",
            body: body.clone(),
            name: None,
            era: Era::Legacy,
            session: None,
            endless: false,
            unspoken: false,
        };
        return forward::request(ctx, server, &out, record, |from, to| {
            issue(ctx, with_upstream(ticket, server, from), to);
        })
        .await;
    }
    record.status(200);
    record.succeeded();
    let result = pool_result(ctx, revision);
    let mut response = reply::json(StatusCode::OK, jsonrpc::result(request.id, &result));
    issue(ctx, ticket, response.headers_mut());
    response
}

/// Hands out the sealed id of a session.
fn issue(ctx: &Context, ticket: Ticket, to: &mut HeaderMap) {
    let sealed = ctx.running.sealer.seal(&ticket);
    if let Some(value) = sealed.and_then(|id| HeaderValue::from_str(&id).ok()) {
        to.insert(headers::SESSION_ID, value);
    }
}

fn with_upstream(mut ticket: Ticket, server: &Server, from: &HeaderMap) -> Ticket {
    let mut beginning = [0; 8];
    beginning.copy_from_slice(&server.fingerprint[..8]);
    ticket.upstream = Some(UpstreamTicket {
        server: beginning,
        session: from.get(headers::SESSION_ID).map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
    });
    ticket
}

/// What servers are told of the client when sessions with them are opened. What is too long to be carried
/// in a header is left out.
fn client_params(request: &Request<'_>, revision: &str) -> String {
    let raw = |piece: Option<&RawValue>, otherwise: &str| {
        let fits = piece.filter(|p| p.get().starts_with('{') && p.get().len() <= MAX_CLIENT_BYTES / 2);
        // Unescaped line ends are white space.
        fits.map_or(otherwise.to_owned(), |p| p.get().replace(['\n', '\r'], " "))
    };
    format!(
        r#"{{"protocolVersion":"{revision}","capabilities":{},"clientInfo":{}}}"#,
        raw(request.params.capabilities, "{}"),
        raw(request.params.client_info, r#"{"name":"unknown","version":"0"}"#),
    )
}

/// What the pool as a whole says of itself.
fn pool_result(ctx: &Context, revision: &str) -> Value {
    let mut result = json!({
        "protocolVersion": revision,
        "capabilities": pool::capabilities(ctx, Era::Legacy),
        "serverInfo": pool::server_info(ctx),
    });
    if let Some(text) = pool::instructions(ctx, Era::Legacy) {
        result["instructions"] = text.into();
    }
    result
}

pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
