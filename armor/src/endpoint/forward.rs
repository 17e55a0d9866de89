//! A caller's message on its way to a server, and the answer on its way back.
//!
//! Promises: bytes as they came; a caller that goes away cancels the request to the server, because both hang
//! on the same future and body; a session that the server has forgotten is opened again, once. Must never
//! forward a caller's header that is not of the protocol, nor a server's status that would end a session.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::context::Context;
use super::follow::Answer;
use super::record::Record;
use super::verdict::{self, Judged, Refused};
use super::{asked, judge, reply};
use crate::audit::ErrorCause;
use crate::mcp::{Era, MODERN, headers};
use crate::metrics;
use crate::session::Session;
use crate::stream::hold::Hold;
use crate::stream::relay::Relay;
use crate::upstream::exchange::Speech;
use crate::upstream::{Fault, FaultReason, Server};

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
    let got = match attempt(ctx, server, out, &mut record).await {
        Ok(got) => {
            keep(&got.head, &mut kept);
            got
        }
        Err(fault) => {
            record.head(fault.reason.as_str());
            let no_answer = matches!(fault.reason, FaultReason::HttpError | FaultReason::ProtocolError);
            if out.unspoken && no_answer {
                return unspoken(server, record);
            }
            if !no_answer && !server.handshake().is_failed() {
                // See at once whether it is down for everybody.
                server.probe_now();
            }
            return failure(server, &fault, record);
        }
    };
    record.head(metrics::ANSWERED);
    let mut response = answer(ctx, server, out, got, record);
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

/// Passes a response on, in the session in which the server asked.
pub async fn respond(ctx: &Context, server: &Arc<Server>, speech: &Speech, body: Bytes) {
    let out =
        Outgoing { method: "", body, name: None, era: Era::Legacy, session: None, endless: false, unspoken: false };
    let head = headers_for(ctx, server, &out, Some(speech));
    match server.send(Method::POST, head, out.body, server.timeout).await {
        Ok(response) if response.status().is_success() => {}
        Ok(response) => tracing::debug!(server = %server.name, status = %response.status(), "response not taken"),
        Err(fault) => tracing::debug!(server = %server.name, %fault, "response not sent"),
    }
}

/// The error of a server that could not be asked, under HTTP 200.
pub fn failure(server: &Server, fault: &Fault, mut record: Record) -> Response<Body> {
    // What concerns the server and not the call is told by its probe.
    tracing::debug!(server = %server.name, reason = fault.reason.as_str(), %fault, "request failed");
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

/// What came back, and in which session.
struct Got {
    head: HeaderMap,
    judged: Judged,
    speech: Option<Speech>,
}

async fn attempt(ctx: &Context, server: &Arc<Server>, out: &Outgoing<'_>, record: &mut Record) -> Result<Got, Fault> {
    let mut lost_before = false;
    loop {
        let speech = speech(server, out).await?;
        let head = headers_for(ctx, server, out, speech.as_ref());
        let response = server.send(Method::POST, head, out.body.clone(), server.timeout).await?;
        let status = response.status();
        let head = response.headers().clone();
        match verdict::judge(response, server.timeout, record, out.era, speech.is_some()).await {
            Ok(judged) => return Ok(Got { head, judged, speech }),
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
                // Of other methods it was not compared with the body.
                None if judge::has_name(out.method) => ctx.headers.get(headers::NAME).cloned(),
                None => None,
            };
            if let Some(name) = name {
                map.insert(headers::NAME, name);
            }
            // Copies of arguments, which the server compares with the body. Nothing but a call has arguments.
            let copies = ctx.headers.iter().filter(|(name, _)| name.as_str().starts_with(headers::PARAM_PREFIX));
            for (name, value) in copies.filter(|_| out.method == "tools/call") {
                map.append(name, value.clone());
            }
        }
    }
    if let Some(trace) = ctx.trace.as_ref().and_then(super::context::Trace::header) {
        map.insert(headers::TRACEPARENT, trace);
    }
    map
}

fn answer(ctx: &Context, server: &Server, out: &Outgoing<'_>, got: Got, mut record: Record) -> Response<Body> {
    match got.judged {
        Judged::Stream(body) => {
            record.status(200);
            // Event ids lead back to the server only where there is just one.
            let resumes = out.session.filter(|_| server.prefix.is_empty()).cloned();
            let follow = Answer::new(record, resumes);
            let body = match (out.session, &got.speech) {
                _ if out.endless => {
                    let draining = ctx.gateway.draining.clone().cancelled_owned();
                    Body::new(Relay::events(body, follow, None).cut_when(draining))
                }
                (Some(session), Some(speech)) if !server.prefix.is_empty() => {
                    let body = Hold::new(body, asked::rewrite(ctx, server, session, speech));
                    Body::new(Relay::events(body, follow, Some(server.timeout)))
                }
                _ => Body::new(Relay::events(body, follow, Some(server.timeout))),
            };
            reply::events(body)
        }
        Judged::Whole(status, body, facts) => {
            record.status(status.as_u16());
            record.response_bytes(body.len());
            record.answered(&facts);
            reply::json(status, body)
        }
        Judged::Large(head, body) => {
            record.status(200);
            let relay = Relay::json(body, head, Answer::new(record, None), server.timeout);
            reply::json(StatusCode::OK, Body::new(relay))
        }
    }
}
