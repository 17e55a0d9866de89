//! Header names of the Streamable HTTP transport, and how `Mcp-Name` carries what is not plain ASCII.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};

/// Session of a legacy client.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Revision of the request.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Copy of the body's `method`.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// Copy of the body's `params.name`, `params.uri` or `params.taskId`.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// What copies of arguments begin with; the rest is named by the tool's schema.
pub const PARAM_PREFIX: &str = "mcp-param-";
/// Where a legacy client wants a stream to go on.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Names the request in logs and in the audit trail.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Tells nginx and its like not to hold back a stream.
pub const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const SENTINEL_START: &str = "=?base64?";
const SENTINEL_END: &str = "?=";

/// The text that a header carries (2026-07-28, Value Encoding). `None`: not validly encoded.
#[must_use]
pub fn decode(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    match text.strip_prefix(SENTINEL_START).and_then(|rest| rest.strip_suffix(SENTINEL_END)) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(text.to_owned()),
    }
}

/// The header that carries this text.
#[must_use]
pub fn encode(text: &str) -> HeaderValue {
    let sentinel = text.starts_with(SENTINEL_START) && text.ends_with(SENTINEL_END);
    let spaced = text.starts_with(' ') || text.ends_with(' ');
    let plain = !sentinel && !spaced && text.bytes().all(|b| (0x20..=0x7e).contains(&b));
    if plain && let Ok(value) = HeaderValue::from_str(text) {
        return value;
    }
    let encoded = format!("{SENTINEL_START}{}{SENTINEL_END}", STANDARD.encode(text));
    // Base64 has no character that a header may not have.
    HeaderValue::from_str(&encoded).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_specification() {
        for (text, header) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(encode(text), header);
            assert_eq!(decode(&HeaderValue::from_static(header)).as_deref(), Some(text));
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in any::<String>()) {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }
    }
}
