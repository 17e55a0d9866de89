//! What the encoders really write, for every key that there is.

use std::collections::BTreeMap;

use exporter::address::Policy;
use exporter::destination::{datadog, elasticsearch, sentinel, splunk};
use exporter::mapping::{ROWS, Row};
use serde_json::{Value, json};

use crate::reading::{everything, sample, strict};
use crate::support::{Case, samples};

/// Values by their path in the document; of several events, those of the last one that has it.
pub type Document = BTreeMap<String, Value>;

/// The published samples, and events that together have every key: also a client address that is none.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = samples().into_iter().map(|(_, case)| case).collect();
    let mut odd = sample().value();
    odd["client.ip"] = json!("unknown");
    cases.push(Case::new(events::Record::from_json(odd.to_string().as_bytes()).unwrap()));
    // Only keys of this version: what a later one adds is nothing that a query can name.
    let mut all = everything();
    let mut value = all.value();
    value.as_object_mut().unwrap().remove("later.key");
    all.canonical = value.to_string().into_bytes();
    cases.push(all);
    cases
}

fn leaves(path: &str, value: &Value, into: &mut Document) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                leaves(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, into);
            }
        }
        Value::Object(_) => {}
        other => drop(into.insert(path.to_owned(), other.clone())),
    }
}

fn documents(shape: impl Fn(&Case) -> Value) -> Document {
    let mut document = Document::new();
    for case in cases() {
        leaves("", &shape(&case), &mut document);
    }
    document
}

/// The body of an event of Splunk, and the fields that its envelope becomes.
pub fn splunk() -> Document {
    let spec = serde_json::from_value::<splunk::Spec>(json!({"url": "https://splunk.example.com:8088"})).unwrap();
    assert_eq!(spec.sourcetype, crate::generated::splunk::SOURCETYPE);
    let config = splunk::Config::new(spec, Policy::STRICT).unwrap();
    let mut document = documents(|case| strict(&splunk::shape::shape(&config, &case.routed()).bytes)["event"].take());
    for name in ["_time", "host", "source", "sourcetype", "index"] {
        document.insert(name.to_owned(), json!("of the envelope"));
    }
    document
}

/// A document of Elasticsearch.
pub fn elastic() -> Document {
    documents(|case| {
        let lines = elasticsearch::shape::shape(&case.routed()).bytes;
        strict(lines.split(|byte| *byte == b'\n').nth(1).unwrap())
    })
}

/// A log of Datadog.
pub fn datadog() -> Document {
    let spec = serde_json::from_value::<datadog::Spec>(json!({})).unwrap();
    assert_eq!(spec.source, crate::generated::datadog::SOURCE);
    let config = datadog::Config::new(spec, Policy::STRICT).unwrap();
    documents(|case| strict(&datadog::shape::shape(&config, &case.routed()).bytes))
}

/// A row of Sentinel.
pub fn sentinel() -> Document {
    documents(|case| strict(&sentinel::shape::shape(&case.routed()).bytes))
}

/// The row of a key of the mapping.
pub fn row(key: &str) -> &'static Row {
    ROWS.iter().find(|row| row.key == key).unwrap_or_else(|| panic!("{key} is no key of an event"))
}

/// Whose documents.
#[derive(Clone, Copy)]
pub enum Of {
    Elastic,
    Sentinel,
}

/// The values of the published samples alone, which are of the types that the schema says.
pub fn typed(of: Of) -> Vec<(String, Value)> {
    let mut values = vec![];
    for (_, case) in samples() {
        let document = match of {
            Of::Elastic => {
                let lines = elasticsearch::shape::shape(&case.routed()).bytes;
                strict(lines.split(|byte| *byte == b'\n').nth(1).unwrap())
            }
            Of::Sentinel => strict(&sentinel::shape::shape(&case.routed()).bytes),
        };
        let mut one = Document::new();
        leaves("", &document, &mut one);
        values.extend(one);
    }
    values
}
