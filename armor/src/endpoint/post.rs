//! `POST /mcp`: one message.
//!
//! Promises: the body is bounded in size and time; of a `tools/call` the audit guard is open before anything
//! can refuse it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::context::Context;
use super::{judge, legacy, modern, reply};
use crate::audit::{Refusal, RefusalCause};
use crate::mcp::Era;
use crate::mcp::envelope::Message;
use crate::mcp::jsonrpc::{RpcError, code};

/// Largest message of a caller.
pub const MAX_BODY_BYTES: usize = 4 << 20;
/// How long a caller may take to send one, with the wait for room.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What all messages together may take, from their reading to the end of their requests.
const ALL_BODIES_BYTES: usize = 128 << 20;
/// What is counted in the room for messages.
const UNIT_BYTES: usize = 1 << 10;

/// A response has no method; this one says that it was read.
pub(super) const RESPONSE: &str = "response";

/// The room for messages that are held at the same time.
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL_BODIES_BYTES / UNIT_BYTES)))
    }
}

/// A message, and its place in the room, which is free when nobody holds the message any more.
struct Placed(Bytes, #[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Answers a POST.
pub async fn handle(ctx: Context, body: Incoming) -> Response<Body> {
    if let Err((status, text)) = acceptable(&ctx.headers) {
        return refuse(&ctx, None, status, &RpcError::new(code::INVALID_REQUEST, text), None);
    }
    let body = match read(body, &ctx.gateway.bodies).await {
        Ok(body) => body,
        Err((status, text)) => {
            return refuse(&ctx, None, status, &RpcError::new(code::INVALID_REQUEST, text), None);
        }
    };
    let message = match Message::parse(&body) {
        Ok(message) => message,
        Err((error, id)) => return refuse(&ctx, None, StatusCode::BAD_REQUEST, &error, id),
    };
    match judge::era(&message, &ctx.headers) {
        Ok(Era::Legacy) => legacy::message(&ctx, message, &body).await,
        Ok(Era::Modern) => modern::message(&ctx, message, &body).await,
        Err((status, error)) => unacceptable(&ctx, &message, body.len(), status, &error),
    }
}

/// Refuses a message that could be read; of a tool call there is a record.
pub(super) fn unacceptable(
    ctx: &Context,
    message: &Message<'_>,
    bytes: usize,
    status: StatusCode,
    error: &RpcError,
) -> Response<Body> {
    match message {
        Message::Request(request) if request.method == "tools/call" => {
            let mut record = ctx.record(request, Era::Modern, None, bytes);
            name_tool(&mut record, request);
            record.bad_request(status.as_u16(), error);
            reply::error(status, error, request.id)
        }
        Message::Request(request) | Message::Notification(request) => {
            refuse(ctx, Some(&request.method), status, error, request.id)
        }
        Message::Response { .. } => refuse(ctx, Some(RESPONSE), status, error, None),
    }
}

/// The name in the record of a call that is refused before it is routed.
pub(super) fn name_tool(record: &mut super::record::Record, request: &crate::mcp::envelope::Request<'_>) {
    if let (Some(guard), Some(name)) = (record.call(), crate::mcp::envelope::text(request.params.name)) {
        guard.tool(&name);
    }
}

/// Refuses what is no tool call, or what cannot be read and may have been one: then `method` is absent, and there is a
/// record of it.
pub(super) fn refuse(
    ctx: &Context,
    method: Option<&str>,
    status: StatusCode,
    error: &RpcError,
    id: Option<&RawValue>,
) -> Response<Body> {
    ctx.gateway.metrics.refusal("envelope");
    ctx.running.audit.refuse(&Refusal {
        client_ip: ctx.peer,
        cause: RefusalCause::Envelope,
        method,
        user: Some((&ctx.principal.user, ctx.principal.method)),
        request_id: &ctx.request_id,
        trace_id: ctx.trace.as_ref().map(|t| t.id.as_str()),
        session_id: None,
        user_agent: ctx.user_agent(),
        http_status: status.as_u16(),
        rpc_code: Some(error.code),
    });
    reply::error(status, error, id)
}

/// A browser sends other content types without asking first, so only this one is taken.
fn acceptable(headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    let json = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !json {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json"));
    }
    if !(accepts(headers, "application/json") && accepts(headers, "text/event-stream")) {
        return Err((StatusCode::NOT_ACCEPTABLE, "Accept must list both application/json and text/event-stream"));
    }
    Ok(())
}

/// Whether the caller takes a media type; one that says nothing takes all.
pub(super) fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let group = wanted.split('/').next().unwrap_or_default();
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    values.peek().is_none()
        || values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .filter_map(|range| range.split(';').next())
            .map(str::trim)
            .any(|range| {
                range == "*/*"
                    || range.eq_ignore_ascii_case(wanted)
                    || range.strip_suffix("/*").is_some_and(|g| g.eq_ignore_ascii_case(group))
            })
}

async fn read(body: Incoming, room: &Room) -> Result<Bytes, (StatusCode, &'static str)> {
    const TOO_LARGE: (StatusCode, &str) = (StatusCode::PAYLOAD_TOO_LARGE, "the message is larger than 4 MiB");
    const BROKEN_OFF: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "the message broke off");
    const LATE: (StatusCode, &str) = (StatusCode::REQUEST_TIMEOUT, "the message did not arrive within 30 s");
    const NO_ROOM: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "too many large messages: try again");
    // One whose length is not told may become as large as any.
    let told = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    let length = told.unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES);
    let units = |bytes: usize| bytes.div_ceil(UNIT_BYTES).max(1);
    let end = Instant::now() + BODY_TIMEOUT;
    let wanted = u32::try_from(units(length)).unwrap_or(u32::MAX);
    let Ok(Ok(mut place)) = timeout_at(end, room.0.clone().acquire_many_owned(wanted)).await else {
        return Err(NO_ROOM);
    };
    let bytes = match timeout_at(end, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(TOO_LARGE),
        Ok(Err(_)) => return Err(BROKEN_OFF),
        Err(_) => return Err(LATE),
    };
    let unused = place.num_permits().saturating_sub(units(bytes.len()));
    drop(place.split(unused));
    Ok(Bytes::from_owner(Placed(bytes, place)))
}
