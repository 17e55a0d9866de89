//! The envelope of a message from a client: everything that Armor has to know of it, borrowed.
//!
//! Promises: a key that Armor acts on can not be given twice, whatever its spelling, so that Armor and a
//! server can not understand one message in two ways. Must never decode arguments.

use std::borrow::Cow;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::jsonrpc::{RpcError, code};

/// A message, borrowed from the body.
#[derive(Debug)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Request<'a>),
    /// Wants none.
    Notification(Request<'a>),
    /// Answers a request that a server made.
    Response {
        /// Of the server's request.
        id: &'a RawValue,
    },
}

/// A request or notification.
#[derive(Debug)]
pub struct Request<'a> {
    /// Absent in a notification.
    pub id: Option<&'a RawValue>,
    /// The method.
    pub method: Cow<'a, str>,
    /// What Armor reads of `params`.
    pub params: Params<'a>,
    /// Whether `params` is there.
    pub has_params: bool,
}

/// What Armor reads of `params`.
#[derive(Debug, Default, Deserialize)]
pub struct Params<'a> {
    /// Of a tool or prompt.
    #[serde(borrow, default)]
    pub name: Option<&'a RawValue>,
    /// Of a resource.
    #[serde(borrow, default)]
    pub uri: Option<&'a RawValue>,
    /// Of a task.
    #[serde(borrow, default, rename = "taskId")]
    pub task_id: Option<&'a RawValue>,
    /// Of a completion.
    #[serde(borrow, default, rename = "ref")]
    pub reference: Option<&'a RawValue>,
    /// Where a list goes on.
    #[serde(borrow, default)]
    pub cursor: Option<&'a RawValue>,
    /// Arguments of a tool or prompt, untouched.
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
    /// `_meta`, untouched.
    #[serde(borrow, default, rename = "_meta")]
    pub meta_raw: Option<&'a RawValue>,
    /// Of `initialize`.
    #[serde(borrow, default, rename = "protocolVersion")]
    pub protocol_version: Option<&'a RawValue>,
    /// Of `initialize`.
    #[serde(borrow, default)]
    pub capabilities: Option<&'a RawValue>,
    /// Of `initialize`.
    #[serde(borrow, default, rename = "clientInfo")]
    pub client_info: Option<&'a RawValue>,
    /// Of `subscriptions/listen`.
    #[serde(borrow, default)]
    pub notifications: Option<&'a RawValue>,
    /// What Armor reads of `_meta`.
    #[serde(skip)]
    pub meta: Meta<'a>,
}

/// What Armor reads of `params._meta`.
#[derive(Debug, Default, Deserialize)]
pub struct Meta<'a> {
    /// Revision of this request.
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    pub protocol_version: Option<&'a RawValue>,
    /// Name and version of the client.
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientInfo")]
    pub client_info: Option<&'a RawValue>,
    /// What the client can do.
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub client_capabilities: Option<&'a RawValue>,
}

/// Name and version of a program.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Implementation {
    /// Name.
    #[serde(default)]
    pub name: String,
    /// Version.
    #[serde(default)]
    pub version: String,
}

/// A reference of `completion/complete`.
#[derive(Debug, Deserialize)]
pub struct Reference<'a> {
    /// Of a prompt.
    #[serde(borrow, default)]
    pub name: Option<&'a RawValue>,
    /// Of a resource or a template.
    #[serde(borrow, default)]
    pub uri: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Keeps a null that is there apart from a field that is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Message<'a> {
    /// Parses a body.
    ///
    /// # Errors
    /// What to answer, together with the id if there is one.
    pub fn parse(body: &'a [u8]) -> Result<Self, (RpcError, Option<&'a RawValue>)> {
        let first = body.iter().find(|b| !b.is_ascii_whitespace());
        if first == Some(&b'[') {
            return Err((
                RpcError::new(code::INVALID_REQUEST, "batches are not supported: send each message by itself"),
                None,
            ));
        }
        let wire: Wire<'a> = serde_json::from_slice(body).map_err(|error| {
            let error = if error.is_data() {
                RpcError::new(code::INVALID_REQUEST, format!("not a JSON-RPC message: {error}"))
            } else {
                RpcError::new(code::PARSE, format!("not JSON: {error}"))
            };
            (error, None)
        })?;
        let refuse = |text: &str| (RpcError::new(code::INVALID_REQUEST, text), wire.id);
        if respelled(body, &ENVELOPE_KEYS) {
            return Err(refuse(
                "a key of the envelope is there in another case, which some servers take for the key itself",
            ));
        }
        if wire.jsonrpc.as_deref() != Some("2.0") {
            return Err(refuse("jsonrpc must be \"2.0\""));
        }
        let Some(method) = wire.method else {
            return match (wire.id, wire.result.is_some() != wire.error.is_some()) {
                (Some(id), true) => Ok(Self::Response { id }),
                _ => Err(refuse("neither a request nor a response")),
            };
        };
        if wire.result.is_some() || wire.error.is_some() {
            return Err(refuse("both a request and a response"));
        }
        // Read as a value too, because raw JSON may hold half a surrogate pair or a number without bounds.
        let is_id = |id: &RawValue| matches!(serde_json::from_str(id.get()), Ok(Value::String(_) | Value::Number(_)));
        if wire.id.is_some_and(|id| !is_id(id)) {
            return Err((RpcError::new(code::INVALID_REQUEST, "id must be a string or a number"), None));
        }
        // A server that dispatches by method alone would run a call that nobody answers for.
        if wire.id.is_none() && !method.starts_with("notifications/") {
            return Err(refuse("a request needs an id: only notifications/... go without"));
        }
        let params = match wire.params {
            None => Params::default(),
            Some(raw) => Params::parse(raw).map_err(|error| (error, wire.id))?,
        };
        let request = Request { id: wire.id, method, params, has_params: wire.params.is_some() };
        Ok(match wire.id {
            Some(_) => Self::Request(request),
            None => Self::Notification(request),
        })
    }
}

impl<'a> Params<'a> {
    fn parse(raw: &'a RawValue) -> Result<Self, RpcError> {
        let invalid = |error: serde_json::Error| RpcError::new(code::INVALID_PARAMS, format!("params: {error}"));
        if !raw.get().starts_with('{') {
            return Err(RpcError::new(code::INVALID_PARAMS, "params must be an object"));
        }
        if respelled(raw.get().as_bytes(), &PARAMS_KEYS) {
            let message = "params: a key is there in another case, which some servers take for the key itself";
            return Err(RpcError::new(code::INVALID_PARAMS, message));
        }
        let mut params: Self = serde_json::from_str(raw.get()).map_err(invalid)?;
        if let Some(meta) = params.meta_raw
            && meta.get().starts_with('{')
        {
            params.meta = serde_json::from_str(meta.get()).map_err(invalid)?;
        }
        Ok(params)
    }
}

/// Keys that Armor acts on.
const ENVELOPE_KEYS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS_KEYS: [&str; 8] = ["name", "uri", "taskId", "ref", "cursor", "arguments", "_meta", "protocolVersion"];

/// Whether an object has a key that differs from one of `ours` by case alone: decoders that ignore case, such as Go's
/// `encoding/json`, would take it for the key itself.
fn respelled(object: &[u8], ours: &'static [&'static str]) -> bool {
    struct Keys(&'static [&'static str]);

    impl<'de> Visitor<'de> for Keys {
        type Value = bool;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut found = false;
            while let Some((key, IgnoredAny)) = map.next_entry::<Cow<'de, str>, IgnoredAny>()? {
                // These two fold to ASCII letters as well.
                let folded = key.replace('\u{17f}', "s").replace('\u{212a}', "k");
                found |= self.0.iter().any(|own| folded.eq_ignore_ascii_case(own) && key != *own);
            }
            Ok(found)
        }
    }

    serde_json::Deserializer::from_slice(object).deserialize_map(Keys(ours)).unwrap_or(true)
}

/// The text of a raw JSON string; `None` if it is something else.
#[must_use]
pub fn text<'a>(raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'a>>(raw?.get()).ok().map(|t| t.0)
}

/// Name and version, if the piece says them.
#[must_use]
pub fn implementation(raw: Option<&RawValue>) -> Option<Implementation> {
    serde_json::from_str(raw?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> i64 {
        Message::parse(body.as_bytes()).unwrap_err().0.code
    }

    #[test]
    fn a_call_is_read_without_its_arguments_being_decoded() {
        let body = br#"{"jsonrpc":"2.0","id":"a\u0062","method":"tools/call","params":{"name":"crm__x","arguments":{"n":1e400, "name":"other"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","x":1}}}"#;
        let Message::Request(request) = Message::parse(body).unwrap() else { panic!("not a request") };
        assert_eq!(request.id.unwrap().get(), "\"a\\u0062\"");
        assert_eq!(request.method, "tools/call");
        assert_eq!(text(request.params.name).unwrap(), "crm__x");
        assert_eq!(request.params.arguments.unwrap().get(), r#"{"n":1e400, "name":"other"}"#);
        assert_eq!(text(request.params.meta.protocol_version).unwrap(), "2026-07-28");
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        for body in [
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{},"arguments":{}}}"#,
        ] {
            assert!(Message::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_key_in_another_case_is_refused() {
        for body in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","Name":"secret"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","argument\u017f":{}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"Method":"tools/call","Params":{"name":"secret"}}"#,
        ] {
            assert!(Message::parse(body.as_bytes()).is_err(), "{body}");
        }
        let fine = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"Name":"x"},"nickname":1}}"#;
        assert!(Message::parse(fine.as_bytes()).is_ok());
    }

    #[test]
    fn only_a_notification_goes_without_an_id() {
        assert_eq!(
            error(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"secret"}}"#),
            code::INVALID_REQUEST
        );
        for id in ["1e999", r#""\ud800""#, "true", "{}"] {
            assert_eq!(error(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)), code::INVALID_REQUEST);
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_code_for_it() {
        assert_eq!(error("{"), code::PARSE);
        assert_eq!(error(""), code::PARSE);
        assert_eq!(error("\u{0}"), code::PARSE);
        assert_eq!(error("[]"), code::INVALID_REQUEST);
        assert_eq!(error("1"), code::INVALID_REQUEST);
        assert_eq!(error("{}"), code::INVALID_REQUEST);
        assert_eq!(error(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#), code::INVALID_REQUEST);
        assert_eq!(error(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#), code::INVALID_REQUEST);
        assert_eq!(error(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#), code::INVALID_REQUEST);
        assert_eq!(error(r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":1}"#), code::INVALID_REQUEST);
        assert_eq!(error(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#), code::INVALID_PARAMS);
    }

    #[test]
    fn notifications_and_responses_are_told_apart() {
        let parse = |body: &'static str| Message::parse(body.as_bytes()).unwrap();
        assert!(matches!(parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), Message::Notification(_)));
        for body in [
            r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":null}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}"#,
        ] {
            assert!(matches!(parse(body), Message::Response { .. }), "{body}");
        }
    }
}
