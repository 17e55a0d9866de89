//! The JSON Schema of the events, made from the types and the catalogue.
//!
//! Promises: what an [`Event`](crate::Event) becomes is valid by it, and a key or a verdict that does not
//! belong to an event is not. Must never be edited by hand: it is written by `examples/generate.rs`.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use crate::{
    EventName, Record, SCHEMA_VERSION,
    catalogue::{ENVELOPE_OPTIONAL, ENVELOPE_REQUIRED},
};

/// The name of the schema's file.
#[must_use]
pub fn file_name() -> String {
    format!("aigateway-events-{SCHEMA_VERSION}.schema.json")
}

/// The schema, in draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let derived = SchemaGenerator::default().into_root_schema_for::<Record>();
    let mut schema: Map<String, Value> = derived.as_object().cloned().unwrap_or_default();
    schema.insert("$id".into(), json!(format!("https://aigateway.dev/schemas/{}", file_name())));
    schema.insert("title".into(), json!("AI Gateway audit event"));
    schema.insert(
        "description".into(),
        json!(
            "One event of the audit stream: a flat object of dotted keys, at most 16 KiB of UTF-8. \
             An absent key means unknown; there are no nulls and no empty strings."
        ),
    );
    schema.insert("required".into(), json!(ENVELOPE_REQUIRED));
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(forbid_null);
        properties.insert("schema_version".into(), json!({"const": SCHEMA_VERSION}));
    }
    let mut rules: Vec<Value> = EventName::ALL.iter().map(|event| rule(*event)).collect();
    rules.push(verdict());
    schema.insert("allOf".into(), rules.into());
    Value::Object(schema)
}

/// An optional field is absent, not null, which the derived schema cannot know.
fn forbid_null(property: &mut Value) {
    let Value::Object(property) = property else {
        return;
    };
    if let Some(Value::Array(choices)) = property.remove("anyOf") {
        for choice in choices {
            match choice {
                Value::Object(choice) if choice.get("type") != Some(&json!("null")) => {
                    property.extend(choice);
                }
                _ => {}
            }
        }
    }
    if let Some(Value::Array(values)) = property.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(types)) = property.get("type") {
        let kept = types.iter().find(|kind| **kind != "null").cloned();
        property.insert("type".into(), kept.unwrap_or_default());
    }
}

/// What an event of this name is: its class, its severities, and its keys and no others.
fn rule(event: EventName) -> Value {
    let keys: Vec<&str> = ENVELOPE_REQUIRED
        .iter()
        .chain(ENVELOPE_OPTIONAL)
        .chain(event.required())
        .copied()
        .chain(event.optional())
        .collect();
    json!({
        "if": is(event),
        "then": {
            "properties": {
                "class": {"const": event.class()},
                "severity": {"enum": event.severities()},
            },
            "required": event.required(),
            "propertyNames": {"enum": keys},
        },
    })
}

/// Status, action, reason and severity of a `tool_call` agree.
fn verdict() -> Value {
    let case = |status, severity, action, reason: Value| {
        let absent = reason == false;
        let mut case = json!({
            "properties": {
                "status": {"const": status},
                "severity": {"const": severity},
                "action": {"const": action},
                "action.reason": reason,
            },
        });
        if !absent {
            case["required"] = json!(["action.reason"]);
        }
        case
    };
    let blocked = json!({"not": {"const": "rate_limit_exceeded"}});
    json!({
        "if": is(EventName::ToolCall),
        "then": {"oneOf": [
            case("success", "info", "allowed", json!(false)),
            case("error", "warn", "allowed", json!(false)),
            case("blocked", "warn", "blocked", blocked),
            case("rate_limited", "warn", "blocked", json!({"const": "rate_limit_exceeded"})),
        ]},
    })
}

fn is(event: EventName) -> Value {
    json!({"properties": {"event": {"const": event}}, "required": ["event"]})
}
