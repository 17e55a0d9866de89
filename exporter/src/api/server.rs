//! Answers the requests of the operator and the kubelet.
//!
//! Promises: everything but health and metrics only for the bearer of the token; a request takes at most [`LIMIT_BYTES`]
//! and an answer never a text that a platform sent. Readiness depends on nothing outside of the process.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use daemon::reply;
use events::{Record, TestEvent, Text};
use http::header::{ALLOW, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use super::wire;
use crate::answer::{Outcome, Verdict};
use crate::cause::Cause;
use crate::destination::Routed;
use crate::reload::{Running, View};

/// The most that is read of a request.
const LIMIT_BYTES: usize = 2 << 20;
/// How long reading a request may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a test event may take.
const TEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest id of a test, in bytes.
const MAX_TEST_ID_BYTES: usize = 256;

/// Answers one request.
pub async fn handle(view: Arc<View>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let post = *request.method() == Method::POST;
    match parts.as_slice() {
        ["livez"] => reply::text(StatusCode::OK, "ok\n"),
        ["readyz"] => match *view.running.borrow() {
            Some(_) => reply::text(StatusCode::OK, "ok\n"),
            None => reply::text(StatusCode::SERVICE_UNAVAILABLE, "waiting for a valid configuration\n"),
        },
        ["metrics"] => reply::open_metrics(view.metrics.text()),
        ["v1", "destinations"] | ["v1", "events"] | ["v1", "destinations", _, _, "test"] => {
            let running = match admitted(&view, &request) {
                Ok(running) => running,
                Err(response) => return *response,
            };
            match parts.as_slice() {
                ["v1", "destinations"] if get => destinations(&view, &running).await,
                ["v1", "destinations"] => not_allowed("GET, HEAD"),
                _ if !post => not_allowed("POST"),
                ["v1", "destinations", export, name, _] => {
                    let id = crate::setup::id(export, name);
                    match body(request).await {
                        Ok(bytes) => test(&view, &running, &id, &bytes).await,
                        Err(response) => *response,
                    }
                }
                _ => match body(request).await {
                    Ok(bytes) => events(&running, &bytes).await,
                    Err(response) => *response,
                },
            }
        }
        _ => refused(StatusCode::NOT_FOUND, "there is no such path"),
    }
}

fn admitted(view: &View, request: &Request<Incoming>) -> Result<Running, Box<Response<Body>>> {
    // Without a configuration there is no token that could be right.
    let Some(running) = view.running.borrow().clone() else {
        return Err(Box::new(refused(StatusCode::SERVICE_UNAVAILABLE, "waiting for a valid configuration")));
    };
    if daemon::bearer::is_shown(request.headers(), &running.token) {
        return Ok(running);
    }
    let mut response = refused(StatusCode::UNAUTHORIZED, "the token of the API is missing or wrong");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Err(Box::new(response))
}

async fn destinations(view: &View, running: &Running) -> Response<Body> {
    let stream = running.stream.borrow().clone();
    let entries = view.board.entries();
    if let Some(mut stream) = stream {
        for entry in &entries {
            let asked = async {
                let queue = stream.state(&entry.id).await?;
                let replay = stream.replay_state(&entry.id).await?;
                entry.update(|shown| (shown.queue, shown.replay) = (queue, replay));
                Ok::<(), crate::stream::StreamError>(())
            };
            if let Err(error) = asked.await {
                // What was known before is told instead.
                tracing::debug!(%error, "Redis does not tell how it stands");
                break;
            }
        }
    }
    let exports = view.board.exports().into_iter().map(|(name, unrouted)| wire::Export {
        name,
        unrouted: unrouted.total.load(std::sync::atomic::Ordering::Relaxed),
    });
    json(
        StatusCode::OK,
        &wire::Destinations {
            revision: running.document.revision.clone(),
            last_error: view.config.borrow().last_error.clone(),
            credentials_revision: running.credentials_revision.clone(),
            exports: exports.collect(),
            destinations: entries.iter().map(|entry| entry.wire()).collect(),
        },
    )
}

async fn test(view: &View, running: &Running, id: &str, bytes: &[u8]) -> Response<Body> {
    let asked: wire::Test = match serde_json::from_slice(bytes) {
        Ok(asked) => asked,
        Err(_) => return refused(StatusCode::BAD_REQUEST, r#"write {"id": "…"}"#),
    };
    let known = Text::new(&asked.id).filter(|_| asked.id.len() <= MAX_TEST_ID_BYTES);
    let (Some(test), Some(destination)) = (known, Text::new(id)) else {
        return refused(StatusCode::BAD_REQUEST, "id: must be 1 to 256 bytes without control characters");
    };
    let Some(entry) = view.board.find(id) else {
        return refused(StatusCode::NOT_FOUND, "there is no such destination in the running configuration");
    };
    let shown = entry.shown();
    let Some(ready) = shown.ready else {
        return refused(StatusCode::CONFLICT, "the destination can not be set up");
    };
    let (record, canonical) = running.voice.event(events::Body::TestEvent(TestEvent { destination, test }));
    // A filter is about the events of a pool; its level and index are those of any event.
    let choice = ready.selection.choose(&record).unwrap_or_default();
    let private = match ready.privacy.as_ref().map(|privacy| privacy.apply(&canonical)) {
        None => Some((record, canonical)),
        Some(private) => private,
    };
    let Some((record, canonical)) = private else {
        return refused(StatusCode::INTERNAL_SERVER_ERROR, "the test event can not be made");
    };
    let shaped = ready.platform.shape(&Routed {
        record: &record,
        canonical: &canonical,
        level: choice.level.as_deref(),
        index: choice.index.as_deref(),
    });
    let began = Instant::now();
    let sent = ready.platform.send(std::slice::from_ref(&shaped), jiff::Timestamp::now(), TEST_TIMEOUT);
    let outcome = timeout(TEST_TIMEOUT, sent).await.unwrap_or_else(|_| Outcome::All(Cause::Timeout.verdict()));
    let verdict = match outcome {
        Outcome::All(verdict) => verdict,
        Outcome::Each(verdicts) => verdicts.into_iter().next().unwrap_or_else(|| Cause::Broken.verdict()),
    };
    json(StatusCode::OK, &result(verdict, ready.platform.assurance().as_str(), began.elapsed()))
}

fn result(verdict: Verdict, assurance: &str, took: Duration) -> wire::TestResult {
    use wire::TestOutcome::{Delivered, Rejected, Unreachable};
    let (result, code, field) = match verdict {
        Verdict::Delivered => (Delivered, None, None),
        Verdict::Retry { code, .. } => (Unreachable, Some(code), None),
        Verdict::Split { code } | Verdict::Drop { code } | Verdict::Auth { code } => (Rejected, Some(code), None),
        Verdict::Config { code, field } => (Rejected, Some(code), Some(field.to_owned())),
    };
    wire::TestResult {
        result,
        assurance: (result == Delivered).then(|| assurance.to_owned()),
        code: code.map(|code| code.as_str().to_owned()),
        field,
        milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

async fn events(running: &Running, bytes: &[u8]) -> Response<Body> {
    let raw: Vec<&RawValue> = match serde_json::from_slice(bytes) {
        Ok(raw) => raw,
        Err(_) => return refused(StatusCode::BAD_REQUEST, "write an array of events"),
    };
    let mut checked = Vec::with_capacity(raw.len());
    for (i, event) in raw.iter().enumerate() {
        match Record::from_json(event.get().as_bytes()) {
            Ok(record) if record.pool_id.as_str() == running.document.pool.id => {
                checked.push((record.event_id.to_string(), event.get()));
            }
            Ok(_) => return refused(StatusCode::BAD_REQUEST, &format!("event {i}: pool.id is that of another pool")),
            Err(_) => return refused(StatusCode::BAD_REQUEST, &format!("event {i}: is no event of the schema")),
        }
    }
    let Some(mut stream) = running.stream.borrow().clone() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "Redis can not be reached");
    };
    let mut added = 0;
    for (id, event) in checked {
        match stream.emit(&id, event.as_bytes()).await {
            Ok(new) => added += u64::from(new),
            Err(error) => {
                tracing::warn!(%error, "events of the operator were not added");
                return refused(StatusCode::SERVICE_UNAVAILABLE, "Redis took not all events: send all of them again");
            }
        }
    }
    json(StatusCode::OK, &wire::Added { added })
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Box<Response<Body>>> {
    match timeout(READ_TIMEOUT, Limited::new(request.into_body(), LIMIT_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) => Err(Box::new(refused(StatusCode::PAYLOAD_TOO_LARGE, "a request has at most 2 MiB"))),
        Err(_) => Err(Box::new(refused(StatusCode::REQUEST_TIMEOUT, "the request did not come in time"))),
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Structs of texts and numbers can be written.
    reply::json(status, serde_json::to_vec(value).unwrap_or_default())
}

fn refused(status: StatusCode, error: &str) -> Response<Body> {
    json(status, &wire::Refused { error: error.to_owned() })
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, "the method is not served here");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
