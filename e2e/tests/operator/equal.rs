//! A namespace without what differs from one creation to the next: two ways to the same specs must end in the same objects,
//! with the same contents, the same status, and the same fields for the operator to answer for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Namespace, eventually, kubectl_json};
use serde_json::{Value, json};

use crate::CHILDREN;

/// Annotations that hold a hash over uids, or are the cluster's own.
const VOLATILE: [&str; 4] = [
    "aigateway.dev/desired-hash",
    "aigateway.dev/sources-hash",
    "aigateway.dev/secrets-identity",
    "deployment.kubernetes.io/revision",
];

/// Everything that lasts, by kind and name.
pub type Snapshot = BTreeMap<String, Value>;

/// Takes a snapshot. Pods, and the status that the cluster itself gives to workloads, are no part of it.
pub fn snapshot(ns: &Namespace) -> Result<Snapshot> {
    let kinds = format!("pools,mcpservers,{CHILDREN},persistentvolumeclaims");
    let list = kubectl_json(&["-n", &ns.name, "get", &kinds, "--show-managed-fields"])?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let mut masks = vec![(ns.name.clone(), "(namespace)")];
    for object in &items {
        for (value, mask) in [(&object["metadata"]["uid"], "(uid)"), (&object["status"]["configHash"], "(revision)")] {
            masks.extend(value.as_str().map(|value| (value.to_owned(), mask)));
        }
    }
    let mut all = Snapshot::new();
    for object in items {
        let key = format!("{} {}", word(&object["kind"]), word(&object["metadata"]["name"]));
        let mut text = without_accidents(object).to_string();
        for (value, mask) in &masks {
            text = text.replace(value.as_str(), mask);
        }
        all.insert(key, serde_json::from_str(&text)?);
    }
    Ok(all)
}

/// Waits until two namespaces are equal.
pub fn become_equal(left: &Namespace, right: &Namespace) -> Result<()> {
    become_as(left, || snapshot(right))
}

/// Waits until a namespace is as it, or another one, was seen.
pub fn become_as(ns: &Namespace, seen: impl Fn() -> Result<Snapshot>) -> Result<()> {
    eventually(&format!("{} is as it ought to be", ns.name), Duration::from_secs(60), || {
        let found = differences(&snapshot(ns)?, &seen()?);
        ensure!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
        Ok(())
    })
}

fn differences(left: &Snapshot, right: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        compare(key, left.get(key).unwrap_or(&Value::Null), right.get(key).unwrap_or(&Value::Null), &mut found);
    }
    found
}

fn compare(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                compare(&format!("{path}/{key}"), &side(a), &side(b), found);
            }
        }
        _ if left == right => {}
        _ => found.push(format!("  {path}: {left} | {right}")),
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn without_accidents(mut object: Value) -> Value {
    let kind = word(&object["kind"]).to_owned();
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let ours =
        entries.iter().filter(|e| word(&e["manager"]).starts_with("ai-gateway-operator") && e["operation"] == "Apply");
    let owned: Vec<Value> = ours.map(|e| json!({"by": e["manager"], "fields": e["fieldsV1"].to_string()})).collect();
    let meta = &mut object["metadata"];
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        remove(meta, field);
    }
    meta["managedFields"] = json!(owned);
    stable_annotations(meta);
    if let Some(template) = object.pointer_mut("/spec/template/metadata") {
        stable_annotations(template);
    }
    match kind.as_str() {
        "Pool" | "McpServer" => {
            mask(&mut object["status"], &["lastTransitionTime", "since", "lastProbeTime", "observedGeneration"]);
            return object;
        }
        "Secret" => {
            // Random values keep their length; copies of users' values are compared as they are.
            let copied = word(&object["metadata"]["name"]).ends_with("-credentials");
            for (key, value) in object["data"].as_object_mut().into_iter().flatten() {
                if !copied || key == "credentials-revision" {
                    *value = json!(word(value).len());
                }
            }
        }
        "Service" => mask(&mut object["spec"], &["clusterIP", "clusterIPs", "nodePort"]),
        "PersistentVolumeClaim" => remove(&mut object["spec"], "volumeName"),
        _ => {}
    }
    remove(&mut object, "status");
    object
}

fn stable_annotations(meta: &mut Value) {
    if let Some(annotations) = meta["annotations"].as_object_mut() {
        annotations.retain(|name, _| {
            // kubectl's own copy of what was applied holds the way, not the end.
            !VOLATILE.contains(&name.as_str()) && !name.contains("last-applied") && !name.contains("volume")
        });
    }
    if meta["annotations"].as_object().is_none_or(serde_json::Map::is_empty) {
        remove(meta, "annotations");
    }
}

fn mask(value: &mut Value, fields: &[&str]) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if fields.contains(&key.as_str()) { *inner = json!("(masked)") } else { mask(inner, fields) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, fields)),
        _ => {}
    }
}

fn remove(value: &mut Value, field: &str) {
    if let Some(map) = value.as_object_mut() {
        map.remove(field);
    }
}

#[test]
fn a_difference_is_found_wherever_it_is() {
    let left = Snapshot::from([("Service a".into(), json!({"spec": {"ports": [1]}})), ("Secret b".into(), json!({}))]);
    let right = Snapshot::from([("Service a".into(), json!({"spec": {"ports": [2]}}))]);
    assert_eq!(differences(&left, &right), ["  Secret b: {} | null", "  Service a/spec/ports: [1] | [2]"]);
}
