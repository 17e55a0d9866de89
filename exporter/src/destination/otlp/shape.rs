//! An event as a log record.

use std::borrow::Cow;

use events::{Action, EventName, Record, Status};

use super::protobuf::{Any, LogRecord};
use crate::destination::cut::{self, Field};
use crate::destination::renamed::{Name, Value, each};
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

    let mut log = LogRecord::with_capacity(2 * canonical.len() + 512);
    log.time(record.timestamp.unix_ms().saturating_mul(1_000_000));
    log.severity(number, word);
    log.body(record.message.as_str());
    each(&fields, Platform::Otel, |name, value| log.attribute(name, &Any::of(value)));
    derive(record, &mut log);
    if let Some(field) = fields.iter().find(|field| field.key == "trace.id") {
        match trace_id(field) {
            Some(id) => log.trace_id(&id),
            None => log.attribute(Name::Own(&field.key), &Any::of(Value::Json(field.json))),
        }
    }
    log.event_name(&format!("{OWN_PREFIX}.{}", record.event.as_str()));
    Shaped {
        bytes: log.into_scope_logs().into(),
        time: record.timestamp,
        group: Cow::Borrowed(record.component_name.as_str()),
        cut: matches!(canonical, Cow::Owned(_)),
    }
}

/// What the conventions want in words of their own.
fn derive(record: &Record, log: &mut LogRecord) {
    if record.event == EventName::ToolCall {
        log.attribute(Name::Theirs("gen_ai.operation.name"), &Any::text("execute_tool"));
    }
    if let Some(action) = record.action {
        let word = match action {
            Action::Allowed => "allow",
            Action::Blocked => "block",
        };
        log.attribute(Name::Theirs("gen_ai.guardrail.action.type"), &Any::text(word));
    }
    if let Some(status) = record.status.filter(|status| *status != Status::Success) {
        log.attribute(Name::Theirs("error.type"), &Any::text(status.as_str()));
    }
}

/// A W3C trace id as the 16 bytes that a record has room for. Sixteen zeros are none.
fn trace_id(field: &Field<'_>) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    hex::decode_to_slice(field.json.get().trim_matches('"'), &mut id).ok()?;
    (id != [0; 16]).then_some(id)
}
