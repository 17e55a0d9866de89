//! A document of Elasticsearch: the action and the event in ECS, each on a line.

use std::borrow::Cow;
use std::io::Write as _;

use events::{Action, EventName, Record, ResourceOperation, Severity};

use crate::destination::renamed::{Leaf, Nested, Value};
use crate::destination::{Routed, Shaped, cut};
use crate::mapping::{Platform, level, outcome};

/// Most bytes of a canonical event that are sent. Lucene takes no keyword longer than 32,766 bytes, and refuses the
/// whole document with it: in an event of this size there is none.
const ROOM: usize = 32_766;

/// `create` and not `index`: a data stream takes nothing else, and what is there is never replaced.
#[must_use]
pub fn shape(event: &Routed<'_>) -> Shaped {
    let canonical = cut::json(event.canonical, ROOM);
    let fields = cut::fields(&canonical).unwrap_or_default();
    let record = event.record;

    let mut out = Vec::with_capacity(2 * canonical.len() + 512);
    // Writing to memory cannot fail. A ULID needs no escapes.
    let _ = writeln!(out, r#"{{"create":{{"_id":"{}"}}}}"#, record.event_id);
    let mut document = Nested::of(&fields, Platform::Ecs);
    let (word, number) = level(Platform::Ecs, record.severity, event.level);
    document.add("log.level", Leaf::Text(word));
    document.add("event.severity", Leaf::Value(Value::Integer(number.into())));
    document.add("ecs.version", Leaf::Text("9.0.0"));
    document.add("event.kind", Leaf::Text("event"));
    let (category, kind) = categories(record);
    if let Some(category) = category {
        document.add("event.category", Leaf::Literal(category));
    }
    document.add("event.type", Leaf::Literal(kind));
    if let Some(outcome) = outcome(record) {
        document.add("event.outcome", Leaf::Text(outcome));
    }
    document.write(&mut out);
    out.push(b'\n');
    Shaped {
        bytes: out.into(),
        time: record.timestamp,
        group: Cow::Borrowed(""),
        cut: matches!(canonical, Cow::Owned(_)),
    }
}

/// `event.category` and `event.type` (ECS, "Categorization fields"): only pairs that ECS allows.
fn categories(record: &Record) -> (Option<&'static str>, &'static str) {
    match (record.event, record.action) {
        (EventName::ToolCall, Some(Action::Blocked)) => (Some(r#"["api"]"#), r#"["access","denied"]"#),
        (EventName::ToolCall, _) => (Some(r#"["api"]"#), r#"["access","allowed"]"#),
        (EventName::AuthDenied, _) => (Some(r#"["authentication"]"#), r#"["info"]"#),
        (EventName::RouteNotFound | EventName::UpstreamError, _) => (Some(r#"["api"]"#), r#"["error"]"#),
        (EventName::ConfigChange, _) => (Some(r#"["configuration"]"#), r#"["change"]"#),
        (EventName::ResourceChanged, _) => match record.resource_operation {
            Some(ResourceOperation::Created) => (Some(r#"["configuration"]"#), r#"["creation"]"#),
            Some(ResourceOperation::Deleted) => (Some(r#"["configuration"]"#), r#"["deletion"]"#),
            Some(ResourceOperation::Changed) | None => (Some(r#"["configuration"]"#), r#"["change"]"#),
        },
        (
            EventName::ComponentLifecycle
            | EventName::Scaling
            | EventName::ReconciliationComplete
            | EventName::PoolPhaseChanged,
            _,
        ) => (None, if record.severity == Severity::Error { r#"["error"]"# } else { r#"["info"]"# }),
        (EventName::EventsDropped | EventName::DestinationFailing | EventName::BacklogAtRisk, _) => {
            (None, r#"["error"]"#)
        }
        (EventName::DestinationRecovered | EventName::TestEvent, _) => (None, r#"["info"]"#),
    }
}
