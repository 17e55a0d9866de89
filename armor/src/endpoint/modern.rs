//! Messages of clients of revision 2026-07-28, which have no sessions.
//!
//! Promises: every request is judged by itself; headers and body say the same before anything else happens.

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::context::Context;
use super::dispatch::Call;
use super::post::{RESPONSE, refuse, unacceptable};
use super::{judge, listen, pool, reply};
use crate::mcp::envelope::Message;
use crate::mcp::jsonrpc::{RpcError, code};
use crate::mcp::{Era, MODERN, meta};

/// How long a client may go on without asking again what the pool can do.
const DISCOVER_TTL_MS: u64 = 30_000;

/// Answers a message.
pub async fn message(ctx: &Context, message: Message<'_>, body: &Bytes) -> Response<Body> {
    let request = match &message {
        Message::Request(request) => request,
        // This revision defines none, and none that a server would have to know.
        Message::Notification(_) => return reply::empty(StatusCode::ACCEPTED),
        Message::Response { .. } => {
            let error = RpcError::new(code::INVALID_REQUEST, "clients of this revision do not send responses");
            return refuse(ctx, Some(RESPONSE), StatusCode::BAD_REQUEST, &error, None);
        }
    };
    if let Err((status, error)) = judge::modern(request, &ctx.headers) {
        return unacceptable(ctx, &message, body.len(), status, &error);
    }
    let spoken = ctx.running.speaks(Era::Modern);
    if !spoken && ctx.running.unprefixed().is_none() {
        // A client of both eras goes on with one that the servers speak.
        let (status, error) = judge::unsupported_but(MODERN, &judge::supported(false, true));
        return unacceptable(ctx, &message, body.len(), status, &error);
    }
    let record = ctx.record(request, Era::Modern, None, body.len());
    let call = Call { ctx, request, body, era: Era::Modern, session: None };
    match request.method.as_ref() {
        "server/discover" if spoken => call.own_result(record, &discovered(ctx)),
        "subscriptions/listen" if ctx.running.unprefixed().is_none() => listen::modern(ctx, request, record),
        _ => call.answer(record).await,
    }
}

/// What the pool as a whole says of itself.
fn discovered(ctx: &Context) -> serde_json::Value {
    let mut info = pool::server_info(ctx);
    if let Some(server) = ctx.running.unprefixed()
        && let Some(offer) = server.handshake().modern.as_ref()
        && offer.server_info.is_object()
    {
        info = offer.server_info.clone();
    }
    let mut result = json!({
        "resultType": "complete",
        "supportedVersions": judge::supported(true, ctx.running.speaks(Era::Legacy)),
        "capabilities": pool::capabilities(ctx, Era::Modern),
        "ttlMs": DISCOVER_TTL_MS,
        "cacheScope": "private",
        "_meta": { meta::SERVER_INFO: info },
    });
    if let Some(text) = pool::instructions(ctx, Era::Modern) {
        result["instructions"] = text.into();
    }
    result
}
