//! An event as a log record.

use std::borrow::Cow;

use events::{Action, EventName, Record, Status};
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
use prost::Message as _;
use serde_json::value::RawValue;

use crate::destination::cut::{self, Field};
use crate::destination::renamed::{Name, Value, each, integer, own};
use crate::destination::{Routed, Shaped};
use crate::mapping::{OWN_PREFIX, Platform, level};

/// Most bytes of a canonical event that are sent. As a record it is at most three times as long, and so fits in a
/// request.
const ROOM: usize = super::request::LIMITS.bytes / 4;

/// The record. `bytes` are a `ScopeLogs` with nothing else in it: one after the other, they are a `ScopeLogs` with all
/// of the records, because that is how protobuf merges. The group is the component, which is the resource's
/// `service.name`.
#[must_use]
pub fn shape(event: &Routed<'_>) -> Shaped {
    let canonical = cut::json(event.canonical, ROOM);
    let fields = cut::fields(&canonical).unwrap_or_default();
    let record = event.record;
    let (word, number) = level(Platform::Otel, record.severity, event.level);

    let mut attributes = Vec::with_capacity(fields.len() + 4);
    each(&fields, Platform::Otel, |name, value| {
        let key = match name {
            Name::Theirs(name) => name.to_owned(),
            Name::Own(key) => format!("{OWN_PREFIX}.{}", own(key)),
        };
        attributes.push(attribute(key, any(value)));
    });
    derive(record, &mut attributes);
    let trace_id = match trace_id(&fields) {
        None => Vec::new(),
        Some(Ok(id)) => id,
        Some(Err(json)) => {
            attributes.push(attribute(format!("{OWN_PREFIX}.trace_id"), any(Value::Json(json))));
            Vec::new()
        }
    };
    let time = record.timestamp.unix_ms().saturating_mul(1_000_000);
    let log = LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: number,
        severity_text: word.to_owned(),
        body: text(record.message.as_str()),
        attributes,
        trace_id,
        event_name: format!("{OWN_PREFIX}.{}", record.event.as_str()),
        ..LogRecord::default()
    };
    let bytes = ScopeLogs { log_records: vec![log], ..ScopeLogs::default() }.encode_to_vec();
    let group = record.component_name.as_str().to_owned();
    Shaped { bytes: bytes.into(), time: record.timestamp, group, cut: matches!(canonical, Cow::Owned(_)) }
}

/// What the conventions want in words of their own.
fn derive(record: &Record, attributes: &mut Vec<KeyValue>) {
    if record.event == EventName::ToolCall {
        attributes.push(attribute("gen_ai.operation.name".into(), text("execute_tool")));
    }
    if let Some(action) = record.action {
        let word = match action {
            Action::Allowed => "allow",
            Action::Blocked => "block",
        };
        attributes.push(attribute("gen_ai.guardrail.action.type".into(), text(word)));
    }
    if let Some(status) = record.status.filter(|status| *status != Status::Success) {
        attributes.push(attribute("error.type".into(), text(status.as_str())));
    }
}

/// A W3C trace id as the 16 bytes that a record has room for, or as it is if it is none. Sixteen zeros are none.
fn trace_id<'f>(fields: &'f [Field<'f>]) -> Option<Result<Vec<u8>, &'f RawValue>> {
    let json = fields.iter().find(|field| field.key == "trace.id")?.json;
    let id = hex::decode(json.get().trim_matches('"')).ok();
    Some(id.filter(|id| id.len() == 16 && id.iter().any(|byte| *byte != 0)).ok_or(json))
}

pub(in crate::destination) fn attribute(key: String, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key, value, ..KeyValue::default() }
}

pub(in crate::destination) fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) })
}

fn any(value: Value<'_>) -> Option<AnyValue> {
    let value = match value {
        Value::Integer(number) => any_value::Value::IntValue(number),
        Value::Json(raw) => match (raw.get().as_bytes().first(), serde_json::from_str::<Vec<&RawValue>>(raw.get())) {
            (Some(b'['), Ok(items)) => {
                let values = items.into_iter().map(|item| AnyValue { value: Some(scalar(item)) }).collect();
                any_value::Value::ArrayValue(ArrayValue { values })
            }
            _ => scalar(raw),
        },
    };
    Some(AnyValue { value: Some(value) })
}

/// What the schema does not have (objects, lists in lists, null) stays JSON text.
fn scalar(raw: &RawValue) -> any_value::Value {
    let json = raw.get();
    match json.as_bytes() {
        [b'"', ..] => any_value::Value::StringValue(serde_json::from_str(json).unwrap_or_default()),
        [b't', ..] => any_value::Value::BoolValue(true),
        [b'f', ..] => any_value::Value::BoolValue(false),
        [b'-' | b'0'..=b'9', ..] => match (integer(json), json.parse()) {
            (Some(number), _) => any_value::Value::IntValue(number),
            (None, Ok(number)) => any_value::Value::DoubleValue(number),
            (None, Err(_)) => any_value::Value::StringValue(json.to_owned()),
        },
        _ => any_value::Value::StringValue(json.to_owned()),
    }
}
