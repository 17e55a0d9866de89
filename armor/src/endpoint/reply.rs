//! Answers that Armor writes itself.

use axum::body::Body;
pub use daemon::reply::json;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::value::RawValue;

use crate::mcp::headers;
use crate::mcp::jsonrpc::RpcError;

/// Status alone.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A JSON-RPC error.
#[must_use]
pub fn error(status: StatusCode, error: &RpcError, id: Option<&RawValue>) -> Response<Body> {
    json(status, error.to_json(id))
}

/// The challenge for somebody without a credential that is accepted.
#[must_use]
pub fn unauthorized(error: &RpcError, invalid: bool) -> Response<Body> {
    let mut response = json(StatusCode::UNAUTHORIZED, error.to_json(None));
    // RFC 6750, 3: without a credential the challenge says nothing more.
    let challenge = match invalid {
        false => HeaderValue::from_static("Bearer"),
        true => HeaderValue::from_static("Bearer error=\"invalid_token\""),
    };
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// A method of HTTP that is not served.
#[must_use]
pub fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A stream of events.
#[must_use]
pub fn events(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let map = response.headers_mut();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    map.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    map.insert(headers::ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
