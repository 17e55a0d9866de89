//! The MCP endpoint: `POST`, `GET` and `DELETE /mcp`.
//!
//! Promises: the way of a request is the one of the listing: Host and Origin, authentication, envelope, route,
//! server. Whatever refuses does so with the status and code that the design names. Must never let a stranger
//! past the check of the credential.

pub mod asked;
pub mod changes;
pub mod context;
pub mod dispatch;
pub mod follow;
pub mod forward;
pub mod judge;
pub mod legacy;
pub mod list;
pub mod listen;
pub mod modern;
pub mod pool;
pub mod post;
pub mod record;
pub mod reply;
pub mod stream;
pub mod verdict;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use tracing::Instrument as _;

use crate::audit::{AuthFailure, Refusal, RefusalCause};
use crate::gateway::{Gateway, Running};
use crate::host::Refused;
use crate::mcp::headers;
use crate::mcp::jsonrpc::{RpcError, code};
use context::{Context, Trace};

/// Where callers come in.
const PATH: &str = "/mcp";

/// Answers one HTTP request.
pub async fn handle(gateway: Arc<Gateway>, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
    let request_id = context::new_request_id();
    let mut response = match request.uri().path() {
        PATH => admit(gateway, peer.ip().to_canonical(), request, request_id.clone()).await,
        _ => reply::empty(StatusCode::NOT_FOUND),
    };
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(headers::REQUEST_ID, value);
    }
    response
}

/// Everything that comes before the caller is known.
async fn admit(
    gateway: Arc<Gateway>,
    peer: IpAddr,
    request: Request<Incoming>,
    request_id: Arc<str>,
) -> Response<Body> {
    let started = Instant::now();
    let Some(running) = gateway.running() else {
        return reply::empty(StatusCode::SERVICE_UNAVAILABLE);
    };
    let (parts, body) = request.into_parts();
    let trace = Trace::parse(&parts.headers);
    let stranger = Stranger {
        gateway: &gateway,
        running: &running,
        peer,
        request_id: &request_id,
        trace: trace.as_ref(),
        headers: &parts.headers,
    };
    if let Err(refused) = running.hosts.check(&parts.uri, &parts.headers) {
        return stranger.host(refused);
    }
    let principal = match running.authenticator.authenticate(&parts.headers, Timestamp::now()) {
        Ok(principal) => principal,
        Err(failure) => return stranger.credential(failure),
    };
    let trace_id = trace.as_ref().map_or("", |t| t.id.as_str());
    let span = tracing::info_span!("request", id = %request_id, trace = trace_id);
    let ctx = Context { gateway, running, principal, peer, headers: parts.headers, request_id, trace, started };
    let answer = async move {
        match parts.method {
            Method::POST => post::handle(ctx, body).await,
            Method::GET => stream::open(&ctx).await,
            Method::DELETE => stream::end(&ctx).await,
            _ => reply::method_not_allowed("POST, GET, DELETE"),
        }
    };
    answer.instrument(span).await
}

/// Somebody who is not known, and is not let in.
struct Stranger<'a> {
    gateway: &'a Gateway,
    running: &'a Running,
    peer: IpAddr,
    request_id: &'a str,
    trace: Option<&'a Trace>,
    headers: &'a http::HeaderMap,
}

impl Stranger<'_> {
    fn host(&self, refused: Refused) -> Response<Body> {
        let (cause, word, text) = match refused {
            Refused::Host => (RefusalCause::Host, "host", "this host is not served here"),
            Refused::Origin => (RefusalCause::Origin, "origin", "pages of this origin may not call this gateway"),
        };
        self.note(cause, word, StatusCode::FORBIDDEN);
        let error = RpcError::new(code::INVALID_REQUEST, text).with_reason("bad_request");
        reply::error(StatusCode::FORBIDDEN, &error, None)
    }

    fn credential(&self, failure: AuthFailure) -> Response<Body> {
        self.note(RefusalCause::Credential(failure), failure.as_str(), StatusCode::UNAUTHORIZED);
        let text = match failure {
            AuthFailure::Missing => "an API key is needed: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
            AuthFailure::Expired => "the API key has expired: ask for a new one",
            _ => "the API key is not accepted",
        };
        let error = RpcError::new(code::INVALID_REQUEST, text).with_reason("auth_denied");
        reply::unauthorized(&error, failure != AuthFailure::Missing)
    }

    fn note(&self, cause: RefusalCause, word: &'static str, status: StatusCode) {
        self.gateway.metrics.refusal(word);
        self.running.audit.refuse(&Refusal {
            client_ip: self.peer,
            cause,
            method: None,
            user: None,
            request_id: self.request_id,
            trace_id: self.trace.map(|t| t.id.as_str()),
            session_id: None,
            user_agent: self.headers.get(http::header::USER_AGENT).and_then(|v| v.to_str().ok()),
            http_status: status.as_u16(),
            rpc_code: Some(code::INVALID_REQUEST),
        });
    }
}
