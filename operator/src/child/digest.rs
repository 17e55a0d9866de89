//! What part of a live object is ours, and a short digest of it.
//!
//! Server-side apply records in `managedFields` which fields our manager owns. The projection of a live object
//! onto those fields is all that has to be compared to find drift: defaults of the API server and fields of
//! others never enter. Nothing here does I/O.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Kind;
use crate::names::FIELD_MANAGER;

/// A digest that does not depend on the order of map keys.
pub(crate) fn digest(value: &Value) -> u64 {
    let mut hasher = Sha256::new();
    feed(&mut hasher, value);
    let bytes = hasher.finalize();
    let mut head = [0u8; 8];
    head.copy_from_slice(&bytes[..8]);
    u64::from_be_bytes(head)
}

fn feed(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            hasher.update(b"{");
            for key in keys {
                hasher.update((key.len() as u64).to_be_bytes());
                hasher.update(key.as_bytes());
                feed(hasher, &map[key]);
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            items.iter().for_each(|item| feed(hasher, item));
            hasher.update(b"]");
        }
        scalar => {
            let text = scalar.to_string();
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
    }
}

/// Digest of the fields of a live object that our manager owns by apply; 0 when it owns none.
///
/// Of a Secret only the names of its keys enter: whoever changes a value becomes the owner of its key, and the
/// digest changes all the same.
pub(crate) fn owned_digest(kind: Kind, live: &Value) -> u64 {
    let entries = live["metadata"]["managedFields"].as_array();
    let ours = entries.into_iter().flatten().find(|entry| {
        entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply" && entry.get("subresource").is_none()
    });
    ours.map_or(0, |entry| {
        let mut own = project(live, &entry["fieldsV1"]);
        blank_values(kind, &mut own);
        digest(&own)
    })
}

fn blank_values(kind: Kind, body: &mut Value) {
    if kind != Kind::Secret {
        return;
    }
    for value in body.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(|data| data.values_mut()) {
        *value = Value::String(String::new());
    }
}

/// Digest that `owned_digest` gives right after `body` was applied, if the API server keeps every value as it
/// was written.
pub(crate) fn expected_digest(kind: Kind, body: &Value) -> u64 {
    let mut own = body.clone();
    blank_values(kind, &mut own);
    if let Some(map) = own.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        if let Some(meta) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.remove("name");
            meta.remove("namespace");
            meta.remove("uid");
        }
    }
    digest(&own)
}

/// The part of `live` that the `fieldsV1` set names.
fn project(live: &Value, fields: &Value) -> Value {
    let Some(set) = fields.as_object() else { return live.clone() };
    if set.keys().all(|key| key == ".") {
        return live.clone();
    }
    match live {
        Value::Object(map) => {
            let own = set.iter().filter_map(|(key, inner)| {
                let name = key.strip_prefix("f:")?;
                map.get(name).map(|value| (name.to_owned(), project(value, inner)))
            });
            Value::Object(own.collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let own = items.iter().enumerate().filter_map(|(index, item)| {
                set.iter().find(|(key, _)| names_item(key, index, item)).map(|(_, inner)| project(item, inner))
            });
            Value::Array(own.collect())
        }
        scalar => scalar.clone(),
    }
}

/// Whether a path element (`k:{…}`, `v:…` or `i:…`) of a field set names this list item.
fn names_item(element: &str, index: usize, item: &Value) -> bool {
    if let Some(keys) = element.strip_prefix("k:") {
        let Ok(Value::Object(keys)) = serde_json::from_str(keys) else { return false };
        return keys.iter().all(|(key, value)| item.get(key) == Some(value));
    }
    if let Some(value) = element.strip_prefix("v:") {
        return serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item);
    }
    element.strip_prefix("i:").is_some_and(|position| position.parse() == Ok(index))
}

/// Whether everything that `desired` says is in `live`; quantities are compared by amount.
///
/// The slow and exact comparison, for objects whose digest differs because the API server writes a value in
/// another form than we do.
pub(crate) fn is_contained(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(want), Value::Object(have)) => want
            .iter()
            .all(|(key, value)| have.get(key).map_or_else(|| is_empty(value), |live| is_contained(value, live))),
        (Value::Array(want), Value::Array(have)) => {
            want.len() == have.len() && want.iter().zip(have).all(|(w, h)| is_contained(w, h))
        }
        (Value::String(want), Value::String(have)) => {
            want == have || crate::quantity::parse(want).is_some_and(|q| crate::quantity::parse(have) == Some(q))
        }
        (want, have) => want == have,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        other => other.is_null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "prod-armor", "uid": "u", "labels": {"a": "1", "foreign": "x"},
                "managedFields": [
                    {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:a": {}}},
                        "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}}}, "f:selector": {}}
                    }},
                    {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:foreign": {}}}}}
                ]
            },
            "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}, {"port": 81, "protocol": "TCP"}], "selector": {"x": "y"}}
        })
    }

    fn desired() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "prod-armor", "labels": {"a": "1"}},
            "spec": {"ports": [{"protocol": "TCP", "port": 80}], "selector": {"x": "y"}}
        })
    }

    #[test]
    fn defaults_and_foreign_fields_do_not_count() {
        assert_eq!(owned_digest(Kind::Service, &live()), expected_digest(Kind::Service, &desired()));
    }

    #[test]
    fn a_changed_owned_field_counts() {
        let mut drifted = live();
        drifted["spec"]["selector"]["x"] = json!("z");
        assert_ne!(owned_digest(Kind::Service, &drifted), expected_digest(Kind::Service, &desired()));
    }

    #[test]
    fn a_field_that_somebody_took_over_counts() {
        let mut taken = live();
        taken["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"] = json!({});
        assert_ne!(owned_digest(Kind::Service, &taken), expected_digest(Kind::Service, &desired()));
    }

    #[test]
    fn containment_compares_quantities_by_amount() {
        assert!(is_contained(&json!({"cpu": "0.5", "m": "1024Mi"}), &json!({"cpu": "500m", "m": "1Gi", "x": 1})));
        assert!(!is_contained(&json!({"cpu": "0.5"}), &json!({"cpu": "501m"})));
        assert!(!is_contained(&json!({"l": [1]}), &json!({"l": [1, 2]})));
    }
}
