//! Armor's own requests to a server: send one, read the one answer, as JSON or from a stream.
//!
//! Promises: bounded in time and size; an answer that is none is a fault. Must not be used for callers'
//! requests, whose answers are not collected.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::fault::Fault;
use super::server::Server;
use crate::mcp::{Era, MODERN, headers, meta};
use crate::stream::sse::SseReader;

/// Largest answer of a server, and largest event of a stream.
pub const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Largest list: a server with more pages is cut off there.
const MAX_PAGES: usize = 100;
/// Largest list, over all pages: a page may be as large as any answer.
const MAX_LIST_BYTES: usize = MAX_ANSWER_BYTES;

/// Counts Armor's own requests.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// An error that the server answered with.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerError {
    /// JSON-RPC code.
    pub code: i64,
}

/// What came back.
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    message: Bytes,
}

impl Answer {
    /// The result, or the error that the server answered with.
    ///
    /// # Errors
    /// A status that is no answer, or an answer that is no JSON-RPC response.
    pub fn outcome<T: DeserializeOwned>(&self) -> Result<Result<T, ServerError>, Fault> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow, default)]
            result: Option<&'a RawValue>,
            #[serde(default)]
            error: Option<ServerError>,
        }
        let parsed: Option<Wire<'_>> = serde_json::from_slice(&self.message).ok();
        match parsed {
            Some(Wire {
                error: Some(error), ..
            }) if !matches!(self.status.as_u16(), 401 | 403 | 407) => Ok(Err(error)),
            Some(Wire {
                result: Some(result),
                ..
            }) if self.status.is_success() => {
                serde_json::from_str(result.get()).map(Ok).map_err(|_| {
                    Fault::protocol("the server's answer does not have the form that the protocol asks for: see the server's own log")
                })
            }
            _ if !self.status.is_success() => Err(Fault::status(self.status)),
            _ => Err(Fault::protocol(
                "the server's answer is no JSON-RPC message: check that the url points to an MCP server",
            )),
        }
    }
}

/// Sends a message and reads the answer.
///
/// # Errors
/// Every [`Fault`].
pub async fn ask(server: &Server, headers: HeaderMap, body: Bytes, limit: Duration) -> Result<Answer, Fault> {
    let exchange = async {
        let response = server.send(Method::POST, headers, body, limit).await?;
        read(response).await
    };
    tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| Err(Fault::timeout(limit)))
}

/// Whether an answer is a stream of events.
#[must_use]
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|t| t.eq_ignore_ascii_case("text/event-stream"))
}

/// Whether an answer is JSON.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|t| t.eq_ignore_ascii_case("application/json"))
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

async fn read(response: Response<Incoming>) -> Result<Answer, Fault> {
    let (parts, mut body) = response.into_parts();
    let stream = is_event_stream(&parts.headers);
    let mut reader = SseReader::default();
    let mut message: Option<Bytes> = None;
    let mut collected = BytesMut::new();
    while message.is_none() {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(|error| Fault::client(&error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if stream {
            reader.feed(&data, |event| {
                if message.is_none() && is_response(event) {
                    message = Some(Bytes::copy_from_slice(event));
                }
            });
        } else {
            collected.extend_from_slice(&data);
        }
        if collected.len() + reader.held() > MAX_ANSWER_BYTES {
            return Err(Fault::protocol(format!("the server's answer is larger than {MAX_ANSWER_BYTES} bytes")));
        }
    }
    Ok(Answer { status: parts.status, headers: parts.headers, message: message.unwrap_or_else(|| collected.freeze()) })
}

fn is_response(event: &[u8]) -> bool {
    let mut scan = crate::stream::scan::Scan::default();
    scan.feed(event);
    scan.facts().is_response()
}

/// How Armor itself speaks to a server.
#[derive(Clone, Debug)]
pub struct Speech {
    /// Which era.
    pub era: Era,
    /// The revision that was agreed on.
    pub revision: String,
    /// The session, where the server keeps one.
    pub session: Option<HeaderValue>,
}

impl Speech {
    /// Headers of a request.
    #[must_use]
    pub fn headers(&self, method: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        if let Ok(revision) = HeaderValue::from_str(&self.revision) {
            map.insert(headers::PROTOCOL_VERSION, revision);
        }
        if let Some(session) = &self.session {
            map.insert(headers::SESSION_ID, session.clone());
        }
        if self.era == Era::Modern {
            map.insert(headers::METHOD, headers::encode(method));
        }
        map
    }

    /// A request.
    #[must_use]
    pub fn body(&self, method: &str, mut params: Value) -> Bytes {
        if self.era == Era::Modern {
            params["_meta"] = json!({
                meta::PROTOCOL_VERSION: MODERN,
                meta::CLIENT_INFO: client_info(),
                meta::CLIENT_CAPABILITIES: {},
            });
        }
        // Requests of one session overlap, so that each needs an id of its own.
        let id = format!("armor-{}", REQUESTS.fetch_add(1, Ordering::Relaxed));
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        message.to_string().into()
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// Every [`Fault`].
    pub async fn ask(&self, server: &Server, method: &str, params: Value, limit: Duration) -> Result<Answer, Fault> {
        ask(server, self.headers(method), self.body(method, params), limit).await
    }
}

/// How Armor introduces itself.
#[must_use]
pub fn client_info() -> Value {
    json!({ "name": "ai-gateway-armor", "version": env!("CARGO_PKG_VERSION") })
}

/// All pages of a list, at most [`MAX_PAGES`].
///
/// # Errors
/// Every [`Fault`]. A server that does not know the method has an empty list.
pub async fn fetch_list(
    server: &Server,
    speech: &Speech,
    kind: super::catalogue::ListKind,
    limit: Duration,
) -> Result<super::catalogue::List, Fault> {
    use super::catalogue::{Item, List};
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut ttl_ms = u64::MAX;
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let params = match &cursor {
            None => json!({}),
            Some(cursor) => json!({ "cursor": cursor }),
        };
        let answer = speech.ask(server, kind.method(), params, limit).await?;
        let mut page: std::collections::HashMap<String, Box<RawValue>> = match answer.outcome()? {
            Ok(page) => page,
            Err(ServerError { code: -32601 }) => break,
            Err(ServerError { code }) => {
                return Err(Fault::protocol(format!(
                    "the server answered {} with error {code}: see the server's own log",
                    kind.method()
                )));
            }
        };
        let list: Vec<Box<RawValue>> =
            page.remove(kind.key()).and_then(|raw| serde_json::from_str(raw.get()).ok()).ok_or_else(|| {
                Fault::protocol(format!(
                    "the server's answer to {} has no list: see the server's own log",
                    kind.method()
                ))
            })?;
        bytes += list.iter().map(|raw| raw.get().len()).sum::<usize>();
        if bytes > MAX_LIST_BYTES {
            return Err(Fault::protocol(format!(
                "the server's answers to {} are larger than {MAX_LIST_BYTES} bytes",
                kind.method()
            )));
        }
        items.extend(list.into_iter().filter_map(|raw| Item::parse(kind, raw)));
        let number = |key: &str| page.get(key).and_then(|raw| raw.get().parse::<u64>().ok());
        ttl_ms = ttl_ms.min(number("ttlMs").unwrap_or(0));
        let next = page.get("nextCursor").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        // A server that gives the same page for ever would not be left.
        if next.is_none() || next == cursor {
            break;
        }
        cursor = next;
    }
    Ok(List::new(items, if ttl_ms == u64::MAX { 0 } else { ttl_ms }))
}
