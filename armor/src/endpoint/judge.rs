//! Which era a request is of, and whether its headers say what its body says.
//!
//! Promises: pure. A request is judged by itself: the one before says nothing about it. Must never let a
//! header that disagrees with the body reach a server (2026-07-28, Server Validation).

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::mcp::envelope::{Message, Request, text};
use crate::mcp::jsonrpc::{RpcError, code};
use crate::mcp::{Era, LEGACY, MODERN, headers, legacy_revision, meta};

/// Why a request is not acceptable: status and error.
pub type Unacceptable = (StatusCode, RpcError);

/// The era of a message.
///
/// # Errors
/// The status and error of the specification.
pub fn era(message: &Message<'_>, map: &HeaderMap) -> Result<Era, Unacceptable> {
    let header = single(map, &headers::PROTOCOL_VERSION)?;
    let request = match message {
        Message::Request(request) | Message::Notification(request) => Some(request),
        Message::Response { .. } => None,
    };
    let in_body = request.and_then(|r| text(r.params.meta.protocol_version));
    // With the `_meta` of a modern request it is one, of a method that this revision does not have.
    if in_body.is_none() && request.is_some_and(|r| r.method == "initialize") {
        return Ok(Era::Legacy);
    }
    let legacy_header = header.as_deref().is_none_or(|v| legacy_revision(v).is_some());
    match (&header, &in_body) {
        // Nothing says that it is a modern one.
        (_, None) if legacy_header => Ok(Era::Legacy),
        (Some(header), Some(in_body)) if header == in_body => match header.as_str() {
            MODERN => Ok(Era::Modern),
            other => Err(unsupported(other)),
        },
        (Some(header), None) if header == MODERN => {
            // A notification needs no `_meta` in this revision.
            if matches!(message, Message::Notification(_)) {
                return Ok(Era::Modern);
            }
            Err(bad(RpcError::new(
                code::INVALID_PARAMS,
                format!("params._meta[\"{}\"] is missing", meta::PROTOCOL_VERSION),
            )))
        }
        (Some(header), None) => Err(unsupported(header)),
        (None, _) => Err(mismatch("the header MCP-Protocol-Version is missing".to_owned())),
        (Some(header), Some(in_body)) => {
            Err(mismatch(format!("MCP-Protocol-Version is '{}', the body says '{}'", shown(header), shown(in_body))))
        }
    }
}

/// What a modern request must say, and say the same in its headers.
///
/// # Errors
/// The status and error of the specification.
pub fn modern(request: &Request<'_>, map: &HeaderMap) -> Result<(), Unacceptable> {
    let Some(method) = single(map, &headers::METHOD)? else {
        return Err(mismatch("the header Mcp-Method is missing".to_owned()));
    };
    if method.as_str() != request.method {
        return Err(mismatch(format!(
            "Mcp-Method is '{}', the body says '{}'",
            shown(&method),
            shown(&request.method)
        )));
    }
    let params = &request.params;
    let (source, required): (Option<Cow<'_, str>>, bool) = match request.method.as_ref() {
        "tools/call" | "prompts/get" => (text(params.name), true),
        "resources/read" => (text(params.uri), true),
        method if method.starts_with("tasks/") => (text(params.task_id), false),
        _ => return capabilities(request),
    };
    let header = map.get(headers::NAME);
    match (header, &source) {
        (Some(header), Some(source)) => {
            let decoded = headers::decode(header)
                .ok_or_else(|| mismatch("the header Mcp-Name is not validly encoded".to_owned()))?;
            if decoded != source.as_ref() || map.get_all(headers::NAME).iter().count() > 1 {
                return Err(mismatch(format!("Mcp-Name is '{}', the body says '{}'", shown(&decoded), shown(source))));
            }
        }
        (None, Some(_)) if required => {
            return Err(mismatch("the header Mcp-Name is missing".to_owned()));
        }
        (Some(_), None) if required => {
            return Err(mismatch("Mcp-Name names what the body does not".to_owned()));
        }
        _ => {}
    }
    capabilities(request)
}

/// Whether `Mcp-Name` means something for a method, so that [`modern`] has compared it with the body.
#[must_use]
pub fn has_name(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read") || method.starts_with("tasks/")
}

fn capabilities(request: &Request<'_>) -> Result<(), Unacceptable> {
    let declared = request.params.meta.client_capabilities;
    if declared.is_none_or(|raw| !raw.get().starts_with('{')) {
        return Err(bad(RpcError::new(
            code::INVALID_PARAMS,
            format!("params._meta[\"{}\"] is missing", meta::CLIENT_CAPABILITIES),
        )));
    }
    Ok(())
}

/// The revision is not spoken here.
#[must_use]
pub fn unsupported(requested: &str) -> Unacceptable {
    unsupported_but(requested, &supported(true, true))
}

/// The revision is not spoken here, but these are.
#[must_use]
pub fn unsupported_but(requested: &str, supported: &[&str]) -> Unacceptable {
    bad(RpcError::new(code::UNSUPPORTED_VERSION, "Unsupported protocol version")
        .with_data(json!({ "supported": supported, "requested": shown(requested) })))
}

/// The revisions of the given eras, newest first.
#[must_use]
pub fn supported(modern: bool, legacy: bool) -> Vec<&'static str> {
    let modern = modern.then_some(MODERN).into_iter();
    modern.chain(LEGACY.into_iter().filter(|_| legacy)).collect()
}

fn mismatch(what: String) -> Unacceptable {
    bad(RpcError::new(code::HEADER_MISMATCH, format!("Header mismatch: {what}")))
}

fn bad(error: RpcError) -> Unacceptable {
    (StatusCode::BAD_REQUEST, error)
}

/// The one value of a header.
fn single(map: &HeaderMap, name: &http::HeaderName) -> Result<Option<String>, Unacceptable> {
    let mut values = map.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().map(|text| text.trim().to_owned());
    match (text, values.next()) {
        (Some(text), None) => Ok(Some(text)),
        _ => Err(mismatch(format!("the header {name} is not one plain value"))),
    }
}

/// A caller's text in an answer to that caller: short.
fn shown(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn judged(body: &str, pairs: &[(&'static str, &'static str)]) -> Result<Era, i64> {
        let message = Message::parse(body.as_bytes()).unwrap();
        let map = map(pairs);
        let judged = era(&message, &map).and_then(|era| match (&message, era) {
            (Message::Request(request), Era::Modern) => modern(request, &map).map(|()| era),
            _ => Ok(era),
        });
        judged.map_err(|(_, error)| error.code)
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"Ünï","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    const INIT: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;

    #[test]
    fn eras_and_mismatches() {
        let version = ("mcp-protocol-version", "2026-07-28");
        let method = ("mcp-method", "tools/call");
        let name = ("mcp-name", "=?base64?w5xuw68=?=");
        let other_version = CALL.replace("2026-07-28", "1900-01-01");
        let no_capabilities = CALL.replace("clientCapabilities", "x");
        for (body, pairs, expected) in [
            (CALL, &[version, method, name][..], Ok(Era::Modern)),
            (CALL, &[version, method], Err(-32020)),
            (CALL, &[version, name], Err(-32020)),
            (CALL, &[method, name], Err(-32020)),
            (CALL, &[version, method, ("mcp-name", "other")], Err(-32020)),
            (CALL, &[version, method, ("mcp-name", "=?base64?!?=")], Err(-32020)),
            (CALL, &[version, ("mcp-method", "Tools/Call"), name], Err(-32020)),
            (CALL, &[("mcp-protocol-version", "2025-11-25"), method, name], Err(-32020)),
            (CALL, &[version, version, method, name], Err(-32020)),
            (&other_version, &[("mcp-protocol-version", "1900-01-01"), method, name], Err(-32022)),
            (&no_capabilities, &[version, method, name], Err(-32602)),
            (LIST, &[], Ok(Era::Legacy)),
            (LIST, &[("mcp-protocol-version", "2025-06-18")], Ok(Era::Legacy)),
            (LIST, &[version, ("mcp-method", "tools/list")], Err(-32602)),
            (LIST, &[("mcp-protocol-version", "1900-01-01")], Err(-32022)),
            (INIT, &[], Ok(Era::Legacy)),
            (INIT, &[version], Ok(Era::Legacy)),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &[], Ok(Era::Legacy)),
            (r#"{"jsonrpc":"2.0","method":"notifications/x"}"#, &[version], Ok(Era::Modern)),
        ] {
            assert_eq!(judged(body, pairs), expected, "{body} {pairs:?}");
        }
    }
}
