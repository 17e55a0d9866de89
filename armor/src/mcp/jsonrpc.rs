//! JSON-RPC 2.0 messages that Armor writes itself.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Error codes. Those of Armor's own refusals are positive, outside of what JSON-RPC and MCP reserve, and
/// read like the HTTP status of the same meaning.
pub mod code {
    /// The body is not JSON.
    pub const PARSE: i64 = -32700;
    /// The body is not a JSON-RPC request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// The method is not known.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// Also: no such tool, prompt or resource.
    pub const INVALID_PARAMS: i64 = -32602;
    /// 2026-07-28: a header does not say what the body says.
    pub const HEADER_MISMATCH: i64 = -32020;
    /// 2026-07-28: the revision is not spoken here.
    pub const UNSUPPORTED_VERSION: i64 = -32022;
    /// The server could not be asked or did not answer properly.
    pub const BAD_GATEWAY: i64 = 502;
    /// The server did not answer in time.
    pub const GATEWAY_TIMEOUT: i64 = 504;
}

/// An error that Armor answers with.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    /// See [`code`].
    pub code: i64,
    /// One sentence for a person.
    pub message: String,
    /// For programs.
    pub data: Option<Value>,
}

impl RpcError {
    /// An error without data.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// With `data.reason`, which programs can rely on.
    #[must_use]
    pub fn with_reason(mut self, reason: &str) -> Self {
        self.data = Some(json!({ "reason": reason }));
        self
    }

    /// With data.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The message, with the id of the request as it came; without one the id is null.
    #[must_use]
    pub fn to_json(&self, id: Option<&RawValue>) -> Vec<u8> {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        message(id, "error", &error)
    }
}

/// A successful answer.
#[must_use]
pub fn result(id: Option<&RawValue>, result: &impl Serialize) -> Vec<u8> {
    message(id, "result", result)
}

fn message(id: Option<&RawValue>, key: &str, value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.map_or("null", RawValue::get).as_bytes());
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    // Values that Armor builds have no map with other keys than strings, so this does not fail.
    if serde_json::to_writer(&mut out, value).is_err() {
        out.extend_from_slice(b"null");
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_repeated_byte_for_byte() {
        let id: &RawValue = serde_json::from_str("1.50e1").unwrap();
        let error = RpcError::new(code::BAD_GATEWAY, "no").with_reason("upstream_error");
        assert_eq!(
            String::from_utf8(error.to_json(Some(id))).unwrap(),
            r#"{"jsonrpc":"2.0","id":1.50e1,"error":{"code":502,"data":{"reason":"upstream_error"},"message":"no"}}"#
        );
        assert_eq!(String::from_utf8(result(None, &json!({}))).unwrap(), r#"{"jsonrpc":"2.0","id":null,"result":{}}"#);
    }
}
