//! The events that are sent to every receiver.

use std::collections::BTreeSet;

use events::Record;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{Case, case, samples};

/// The published samples, an event with texts that hurt, and generated ones: each with an id of its own, the same in
/// every run.
pub fn cases(generated: usize) -> Vec<Case> {
    let mut cases: Vec<Case> = samples().into_iter().map(|(_, case)| case).collect();
    cases.push(hostile());
    let mut runner = TestRunner::deterministic();
    cases.extend((0..generated).map(|_| case().new_tree(&mut runner).unwrap().current()));
    for (number, case) in cases.iter_mut().enumerate() {
        let mut value = case.value();
        let id = ulid::Ulid::from_parts(1_795_245_180_000, number as u128).to_string();
        value["event_id"] = json!(id);
        // Receivers have opinions on what is too old or not yet: the time is that of the samples.
        value["timestamp"] = json!(format!("2026-11-21T07:13:00.{:03}Z", number % 1_000));
        // It is the name of a Pod, and some receivers take no other for that of a host.
        value["component.instance"] = json!("prod-armor-6d5f7c9b8-x2x4v");
        // So is the form of a hash ours.
        if let Some(hash) = value.get_mut("user.email_hash") {
            *hash = json!("hmac-sha256:a1b2c3d4:5e884898da28047151d0e56f8dc62927");
        }
        case.record = Record::from_json(value.to_string().as_bytes()).unwrap();
        // What privacy adds at the end is no part of the record, so the text is edited and not written anew.
        case.canonical = value.to_string().into_bytes();
    }
    assert_eq!(ids(&cases).len(), cases.len());
    cases
}

/// Quotes, backslashes, brackets, line breaks, separators of CEF, an injected message, and letters of many bytes.
pub fn hostile() -> Case {
    let (_, sample) = samples().into_iter().find(|(name, _)| name == "tool_call").unwrap();
    let mut event = sample.value();
    event["user.email"] = json!("\"quoted\" back\\slash ] bracket [ Jürgen 日本 😀 \\\"]");
    event["tool.name"] = json!("a|b=c\\=d]\" user=\"root\"] <14>1 - - - - - - forged");
    event["client.user_agent"] = json!("${jndi:ldap://x} $(id) `id` %s%n {{7*7}} #012 \\u0000");
    let case = Case::new(Record::from_json(event.to_string().as_bytes()).unwrap());
    // No text of ours has control characters; one of a later version may.
    case.with("later.key", "line\nfeed\r\nreturn\ttab \u{7f} \u{85} \u{2028} end\\n")
}

/// The id of an event.
pub fn id(case: &Case) -> String {
    case.value()["event_id"].as_str().unwrap().to_owned()
}

pub fn ids(cases: &[Case]) -> BTreeSet<String> {
    cases.iter().map(id).collect()
}

/// What must be true of an object that may have been cut: every key is there with its value, or named.
pub fn assert_says(found: &Value, case: &Case) {
    let named = |key: &str| found["truncated"].as_array().is_some_and(|names| names.contains(&json!(key)));
    for (key, value) in case.value().as_object().unwrap() {
        match found.get(key) {
            _ if key == "truncated" => {}
            Some(same) => assert_eq!(same, value, "{key} of {}", id(case)),
            None => assert!(named(key), "{key} of {} is neither there nor named", id(case)),
        }
    }
    let whole = case.value();
    assert!(found.as_object().unwrap().keys().all(|key| whole.get(key).is_some() || key == "truncated"));
}
