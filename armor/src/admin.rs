//! The admin port: what the operator and the kubelet ask.
//!
//! Promises: `/config` and `/servers` only for the bearer of the admin token, compared in constant time;
//! `/readyz` depends on nothing outside of the process. Must never show a secret.

use std::sync::Arc;

use axum::body::Body;
use daemon::reply::{open_metrics, text};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::endpoint::reply;
use crate::gateway::{Gateway, Running};
use crate::upstream::Server;

/// Answers one request.
pub async fn handle(gateway: Arc<Gateway>, request: Request<Incoming>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply::method_not_allowed("GET, HEAD");
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match gateway.waits_for() {
            None => text(StatusCode::OK, "ok\n"),
            Some(what) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n")),
        },
        "/metrics" => metrics(&gateway),
        "/config" => guarded(&gateway, request.headers(), |running| config(&gateway, running)),
        "/servers" => guarded(&gateway, request.headers(), servers),
        _ => reply::empty(StatusCode::NOT_FOUND),
    }
}

fn metrics(gateway: &Gateway) -> Response<Body> {
    let sessions = i64::try_from(gateway.sessions.len()).unwrap_or(i64::MAX);
    gateway.metrics.sessions.set(sessions);
    open_metrics(gateway.metrics.text())
}

fn guarded(gateway: &Gateway, headers: &HeaderMap, answer: impl FnOnce(&Running) -> Value) -> Response<Body> {
    // Without a configuration there is no token that could be right.
    let Some(running) = gateway.running() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "waiting for a valid configuration\n");
    };
    if !running.is_admin(headers) {
        let mut response = reply::empty(StatusCode::UNAUTHORIZED);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    reply::json(StatusCode::OK, answer(&running).to_string())
}

fn config(gateway: &Gateway, running: &Running) -> Value {
    let state = gateway.config_state();
    json!({
        "revision": running.document.revision,
        "credentialsRevision": running.credentials_revision,
        "synchronized": state.synchronized,
        "lastError": state.last_error,
        "loadedAt": running.loaded_at.to_string(),
        "redis": {"takesEvents": running.audit.metrics().redis_is_up()},
        "hash": format!("sha256:{}", hex::encode(running.digest)),
        "config": running.redacted,
    })
}

fn servers(running: &Running) -> Value {
    let list: Vec<Value> = running.servers.iter().map(|server| describe(server)).collect();
    json!({ "servers": list })
}

fn describe(server: &Server) -> Value {
    let handshake = server.handshake();
    let mut value = json!({
        "name": server.name.as_ref(),
        "prefix": server.prefix.as_ref(),
        "url": server.shown_url,
        "state": handshake.state.as_str(),
        "reason": handshake.reason,
        "message": handshake.message,
        "eras": handshake.revisions(),
    });
    if let Some(offer) = handshake.newest() {
        let (count, digest) = offer.catalogue.tools_digest(|name| server.tools.offers(name));
        value["tools"] = json!({ "count": count, "digest": digest });
        let said = |key: &str| bounded(offer.server_info.get(key));
        value["server"] = json!({
            "name": said("name"),
            "version": said("version"),
            "protocolVersion": offer.revision,
        });
    }
    if let Some(at) = handshake.last_probe {
        value["lastProbeTime"] = at.to_string().into();
    }
    if let Some(at) = handshake.last_success {
        value["lastSuccessTime"] = at.to_string().into();
    }
    value
}

/// A server's text about itself: short, one line.
fn bounded(value: Option<&Value>) -> String {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}
