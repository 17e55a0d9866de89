//! A signed request of entries.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;

use super::Config;
use super::sigv4::{self, Credentials, Unsigned};
use crate::destination::{Limits, Request, Shaped};

/// Ten entries. Their bytes are limited by what one entry may count: see [`super::shape::ENTRY_BYTES`]; escapes at most
/// double them here.
pub const LIMITS: Limits = Limits { events: 10, bytes: 1 << 20, span: None };

const TARGET: &str = "AWSEvents.PutEvents";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// The request for a batch, signed for an attempt at `now`: AWS refuses a signature older than five minutes.
#[must_use]
pub fn request(config: &Config, credentials: &Credentials, events: &[Shaped], now: Timestamp) -> Request {
    let body = body(events);
    let date = sigv4::date(now);
    let host = match config.url.port() {
        Some(port) => format!("{}:{port}", config.url.host_str().unwrap_or_default()),
        None => config.url.host_str().unwrap_or_default().to_owned(),
    };
    // In the order of their names, as they are signed.
    let mut signed = vec![("content-type", CONTENT_TYPE), ("host", &*host), ("x-amz-date", &*date)];
    signed.extend(credentials.session_token().map(|token| ("x-amz-security-token", token)));
    signed.push(("x-amz-target", TARGET));
    let unsigned = Unsigned { method: "POST", path: "/", query: "", headers: &signed, body: &body };
    let authorization = sigv4::authorization(credentials, &config.region, "events", &date, &unsigned);

    let mut headers = HeaderMap::with_capacity(5);
    let sent = signed.iter().filter(|(name, _)| *name != "host").copied();
    for (name, value) in sent.chain([(header::AUTHORIZATION.as_str(), &*authorization)]) {
        // Checked where they entered, or of hexadecimal characters: neither conversion can fail.
        if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            value.set_sensitive(matches!(name.as_str(), "authorization" | "x-amz-security-token"));
            headers.insert(name, value);
        }
    }
    // The signature is of these very bytes.
    Request { url: config.url.clone(), headers, body, compress: false }
}

/// `{"Entries":[…]}`
fn body(events: &[Shaped]) -> Bytes {
    let room: usize = events.iter().map(|event| event.bytes.len() + 1).sum();
    let mut body = BytesMut::with_capacity(room + 16);
    body.put_slice(b"{\"Entries\":[");
    for (i, event) in events.iter().enumerate() {
        if i > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&event.bytes);
    }
    body.put_slice(b"]}");
    body.freeze()
}
