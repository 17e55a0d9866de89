//! `POST /mcp`: one message.
//!
//! Promises: the body is bounded in size and time; of a `tools/call` the audit guard is open before anything
//! can refuse it.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::value::RawValue;

use super::context::Context;
use super::{judge, legacy, modern, reply};
use crate::audit::{Refusal, RefusalCause};
use crate::mcp::Era;
use crate::mcp::envelope::Message;
use crate::mcp::jsonrpc::{RpcError, code};

/// Largest message of a caller.
pub const MAX_BODY_BYTES: usize = 4 << 20;
/// How long a caller may take to send one.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers a POST.
pub async fn handle(ctx: Context, body: Incoming) -> Response<Body> {
    if let Err((status, text)) = acceptable(&ctx.headers) {
        return refuse(&ctx, status, &RpcError::new(code::INVALID_REQUEST, text), None);
    }
    let body = match read(body).await {
        Ok(body) => body,
        Err((status, text)) => {
            return refuse(&ctx, status, &RpcError::new(code::INVALID_REQUEST, text), None);
        }
    };
    let message = match Message::parse(&body) {
        Ok(message) => message,
        Err((error, id)) => return refuse(&ctx, StatusCode::BAD_REQUEST, &error, id),
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
        Message::Request(request) | Message::Notification(request) => refuse(ctx, status, error, request.id),
        Message::Response { .. } => refuse(ctx, status, error, None),
    }
}

/// The name in the record of a call that is refused before it is routed.
pub(super) fn name_tool(record: &mut super::record::Record, request: &crate::mcp::envelope::Request<'_>) {
    if let (Some(guard), Some(name)) = (record.call(), crate::mcp::envelope::text(request.params.name)) {
        guard.tool(&name);
    }
}

/// Refuses what is no tool call, as far as can be known.
pub(super) fn refuse(ctx: &Context, status: StatusCode, error: &RpcError, id: Option<&RawValue>) -> Response<Body> {
    ctx.gateway.metrics.refusal("envelope");
    ctx.running.audit.refuse(&Refusal {
        client_ip: ctx.peer,
        cause: RefusalCause::Envelope,
        method: None,
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

async fn read(body: Incoming) -> Result<Bytes, (StatusCode, &'static str)> {
    let collected = Limited::new(body, MAX_BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, "the message is larger than 4 MiB"))
        }
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the message broke off")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the message did not arrive within 30 s")),
    }
}
