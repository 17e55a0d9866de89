//! A caller's message on its way to a server, and the answer on its way back.
//!
//! Promises: bytes as they came; a caller that goes away cancels the request to the server, because both hang
//! on the same future and body; a session that the server has forgotten is opened again, once. Must never
//! forward a caller's header that is not of the protocol, nor a server's status that would end a session.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::context::Context;
use super::record::Record;
use super::{judge, reply};
use crate::audit::ErrorCause;
use crate::mcp::{Era, MODERN, headers};
use crate::session::Session;
use crate::stream::relay::Relay;
use crate::stream::scan::{Facts, Scan};
use crate::upstream::exchange::{Speech, is_event_stream, is_json};
use crate::upstream::{Fault, FaultReason, Server};

/// Answers up to this size are read whole before they are passed on, so that one that is no answer becomes
/// an error that the caller can read.
const WHOLE_ANSWER_BYTES: usize = 64 << 10;

/// A message for a server.
#[derive(Clone)]
pub struct Outgoing<'a> {
    /// Its method.
    pub method: &'a str,
    /// The message.
    pub body: Bytes,
    /// The server's own name of what is asked for, for `Mcp-Name`.
    pub name: Option<&'a str>,
    /// How it is spoken.
    pub era: Era,
    /// Within which session.
    pub session: Option<&'a Arc<Session>>,
    /// The answer is a stream without an end, which may be silent for ever.
    pub endless: bool,
    /// The server is not known to speak this era: if it does not answer, the caller is told so.
    pub unspoken: bool,
}

/// What came back.
enum Judged {
    Stream(Incoming),
    Whole(StatusCode, Bytes, Facts),
    Large(Bytes, Incoming),
}

/// Why nothing came back that can be passed on.
enum Refused {
    /// The server does not know the session.
    SessionLost,
    Failed(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// Passes a request on. The server's own headers that matter to the caller are handed to `keep`.
pub async fn request(
    ctx: &Context,
    server: &Arc<Server>,
    out: &Outgoing<'_>,
    mut record: Record,
    keep: impl FnOnce(&HeaderMap, &mut HeaderMap),
) -> Response<Body> {
    record.sent();
    let mut kept = HeaderMap::new();
    let judged = match attempt(ctx, server, out, &mut record).await {
        Ok((head, judged)) => {
            keep(&head, &mut kept);
            judged
        }
        Err(fault) => {
            record.head(fault.reason.as_str());
            let no_answer = matches!(fault.reason, FaultReason::HttpError | FaultReason::ProtocolError);
            if out.unspoken && no_answer {
                return unspoken(server, record);
            }
            if server.handshake().state == crate::upstream::handshake::State::Ready {
                // See at once whether it is down for everybody.
                server.probe_now();
            }
            return failure(server, &fault, record);
        }
    };
    record.head("ok");
    let mut response = answer(ctx, server, out, judged, record);
    response.headers_mut().extend(kept);
    response
}

/// Passes on what wants no answer: a notification, or a response to a server's request.
pub async fn notify(ctx: &Context, server: &Arc<Server>, out: &Outgoing<'_>) {
    let mut lost_before = false;
    loop {
        let sent = async {
            let speech = speech(server, out).await?;
            let head = headers_for(ctx, server, out, speech.as_ref());
            let sent = server.send(Method::POST, head, out.body.clone(), server.timeout).await?;
            Ok::<_, Fault>((speech, sent.status()))
        };
        match sent.await {
            Ok((Some(speech), status)) if matches!(status.as_u16(), 400 | 404) && !lost_before => {
                if let Some(session) = out.session {
                    session.lost(server, &speech).await;
                }
                lost_before = true;
            }
            Ok((_, status)) => {
                if !status.is_success() {
                    tracing::debug!(server = %server.name, %status, "notification not taken");
                }
                return;
            }
            Err(fault) => {
                tracing::debug!(server = %server.name, %fault, "notification not sent");
                return;
            }
        }
    }
}

/// The error of a server that could not be asked, under HTTP 200.
pub fn failure(server: &Server, fault: &Fault, mut record: Record) -> Response<Body> {
    tracing::info!(server = %server.name, reason = fault.reason.as_str(), %fault, "request failed");
    let error = fault.to_rpc(server.name.as_ref());
    record.status(200);
    record.failed(fault, &error);
    let body = error.to_json(record.id());
    record.response_bytes(body.len());
    reply::json(StatusCode::OK, body)
}

/// The server does not speak the caller's revision. A client that speaks others goes on with one of these.
fn unspoken(server: &Server, mut record: Record) -> Response<Body> {
    let handshake = server.handshake();
    let (status, error) = judge::unsupported_but(MODERN, &handshake.revisions());
    record.status(status.as_u16());
    record.refused(ErrorCause::Revision, &error);
    reply::error(status, &error, record.id())
}

/// How to speak to the server; opens a session where one is needed.
async fn speech(server: &Arc<Server>, out: &Outgoing<'_>) -> Result<Option<Speech>, Fault> {
    match out.session {
        Some(session) => Ok(Some(session.speech(server).await?)),
        None => Ok(None),
    }
}

async fn attempt(
    ctx: &Context,
    server: &Arc<Server>,
    out: &Outgoing<'_>,
    record: &mut Record,
) -> Result<(HeaderMap, Judged), Fault> {
    let mut lost_before = false;
    loop {
        let speech = speech(server, out).await?;
        let head = headers_for(ctx, server, out, speech.as_ref());
        let response = server.send(Method::POST, head, out.body.clone(), server.timeout).await?;
        let status = response.status();
        let head = response.headers().clone();
        match judge_answer(response, server.timeout, record, out.era, speech.is_some()).await {
            Ok(judged) => return Ok((head, judged)),
            Err(Refused::Failed(fault)) => return Err(fault),
            // The request was not carried out, so it can be sent again.
            Err(Refused::SessionLost) if !lost_before => {
                if let (Some(session), Some(speech)) = (out.session, &speech) {
                    session.lost(server, speech).await;
                }
                lost_before = true;
            }
            Err(Refused::SessionLost) => return Err(Fault::status(status)),
        }
    }
}

/// Headers of a message: those of the protocol, and nothing else that the caller sent.
pub(super) fn headers_for(ctx: &Context, server: &Server, out: &Outgoing<'_>, speech: Option<&Speech>) -> HeaderMap {
    let mut map = HeaderMap::new();
    match out.era {
        Era::Legacy => {
            // With one server, client and server have agreed on a revision themselves.
            let own = ctx.headers.get(headers::PROTOCOL_VERSION).cloned();
            let agreed = speech.and_then(|s| HeaderValue::from_str(&s.revision).ok());
            let revision = match server.prefix.is_empty() {
                true => own,
                false => agreed,
            };
            if let Some(revision) = revision {
                map.insert(headers::PROTOCOL_VERSION, revision);
            }
            if let Some(session) = speech.and_then(|s| s.session.clone()) {
                map.insert(headers::SESSION_ID, session);
            }
        }
        Era::Modern => {
            map.insert(headers::PROTOCOL_VERSION, HeaderValue::from_static(MODERN));
            map.insert(headers::METHOD, headers::encode(out.method));
            let name = match out.name {
                Some(own) => Some(headers::encode(own)),
                None => ctx.headers.get(headers::NAME).cloned(),
            };
            if let Some(name) = name {
                map.insert(headers::NAME, name);
            }
            for (name, value) in &ctx.headers {
                if name.as_str().starts_with(headers::PARAM_PREFIX) {
                    map.append(name, value.clone());
                }
            }
        }
    }
    if let Some(trace) = ctx.trace.as_ref().and_then(super::context::Trace::header) {
        map.insert(headers::TRACEPARENT, trace);
    }
    map
}

async fn judge_answer(
    response: Response<Incoming>,
    timeout: Duration,
    record: &Record,
    era: Era,
    in_session: bool,
) -> Result<Judged, Refused> {
    let (parts, mut body) = response.into_parts();
    let status = parts.status;
    if matches!(status.as_u16(), 401 | 403 | 407 | 300..=399 | 500..) {
        return Err(Fault::status(status).into());
    }
    if status.is_success() && is_event_stream(&parts.headers) {
        return Ok(Judged::Stream(body));
    }
    let (head, whole) = read_head(&mut body, timeout).await?;
    if status.is_success() && !whole {
        if !is_json(&parts.headers) {
            return Err(no_answer().into());
        }
        return Ok(Judged::Large(head, body));
    }
    let mut scan = Scan::default();
    scan.feed(&head);
    let facts = scan.take();
    let valid = whole && serde_json::from_slice::<serde::de::IgnoredAny>(&head).is_ok();
    if valid && record.is_answer(&facts) {
        return Ok(Judged::Whole(status, head, facts));
    }
    if status.is_success() {
        return Err(no_answer().into());
    }
    // A request that could not be read as one has no id to repeat.
    let nameless = facts.id.as_deref().is_none_or(|id| id == b"null");
    if era == Era::Modern && valid && facts.is_response() && facts.has_error && nameless {
        return Ok(Judged::Whole(status, head, facts));
    }
    if in_session && matches!(status.as_u16(), 400 | 404) {
        return Err(Refused::SessionLost);
    }
    Err(Fault::status(status).into())
}

fn no_answer() -> Fault {
    Fault::protocol(
        "the server's answer is no JSON-RPC response to the request: check that the url points to an MCP server",
    )
}

/// The body, or its beginning if it is large. The flag: it is whole.
async fn read_head(body: &mut Incoming, timeout: Duration) -> Result<(Bytes, bool), Fault> {
    let mut head: Option<Bytes> = None;
    let mut more = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(timeout, body.frame()).await.map_err(|_| Fault::timeout(timeout))?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|e| Fault::client(&e))?.into_data() else {
            continue;
        };
        // Most answers are one frame, which is not copied.
        match &head {
            None => head = Some(data),
            Some(first) => {
                if more.is_empty() {
                    more.extend_from_slice(first);
                }
                more.extend_from_slice(&data);
            }
        }
        let size = more.len().max(head.as_ref().map_or(0, Bytes::len));
        if size > WHOLE_ANSWER_BYTES {
            let read = if more.is_empty() { head.unwrap_or_default() } else { more.freeze() };
            return Ok((read, false));
        }
    }
    let read = if more.is_empty() { head.unwrap_or_default() } else { more.freeze() };
    Ok((read, true))
}

fn answer(ctx: &Context, server: &Server, out: &Outgoing<'_>, judged: Judged, mut record: Record) -> Response<Body> {
    match judged {
        Judged::Stream(body) if out.endless => {
            record.status(200);
            let draining = ctx.gateway.draining.clone().cancelled_owned();
            let relay = Relay::events(body, record, None).cut_when(draining);
            reply::events(Body::new(relay))
        }
        Judged::Stream(body) => {
            record.status(200);
            let relay = Relay::events(body, record, Some(server.timeout));
            reply::events(Body::new(relay))
        }
        Judged::Whole(status, body, facts) => {
            record.status(status.as_u16());
            record.response_bytes(body.len());
            record.answered(&facts);
            reply::json(status, body)
        }
        Judged::Large(head, body) => {
            record.status(200);
            let relay = Relay::json(body, head, record, server.timeout);
            reply::json(StatusCode::OK, Body::new(relay))
        }
    }
}
