//! The logs intake of Datadog.

use exporter::address::Policy;
use exporter::destination::datadog::{self, Config, Credential, Spec, answer, request, shape};
use exporter::destination::{Limits, Routed, Shaped};
use exporter::mapping::Platform;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden;
use crate::reading::{at, compare, everything, judged, leaves, oversized, sample, strict, text};
use crate::support::{Case, case, samples};

fn config() -> Config {
    let spec: Spec = serde_json::from_str(r#"{"site":"datadoghq.eu","tags":["env:prod","team:soc"]}"#).unwrap();
    Config::new(spec, Policy::STRICT).unwrap()
}

fn credential() -> Credential {
    Credential::new(&"key-of-test".into()).unwrap()
}

fn shaped(cases: &[Case]) -> Vec<Shaped> {
    cases.iter().map(|case| shape::shape(&config(), &case.routed())).collect()
}

/// What the intake wants beside the values of the event.
const DERIVED: [&str; 6] = ["ddsource", "ddtags", "service", "status", "timestamp", "evt.outcome"];

fn check(case: &Case, log: &Value) {
    let found = compare(case, Platform::Datadog, |name| match name {
        Ok(path) => at(log, path),
        Err(own) => log["ai_gateway"].get(own).cloned(),
    });
    let derived = DERIVED.iter().filter(|path| at(log, path).is_some()).count();
    assert_eq!(leaves(log), found + derived, "the values of the event, those of the intake and nothing else");
    assert_eq!(log["timestamp"], json!(case.record.timestamp.unix_ms()));
    // What an intake of the vendor's types insists on: texts.
    for name in ["message", "ddsource", "ddtags", "service", "hostname", "status"] {
        assert!(log[name].is_string(), "{name}");
    }
    assert_eq!(log["status"], case.value()["severity"], "a level, and never the status of the call");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn intake_reads_every_value_of_every_log(cases in proptest::collection::vec(case(), 1..4)) {
        let request = request::request(&config(), &credential(), &shaped(&cases));
        let logs = strict(&request.body);
        prop_assert_eq!(logs.as_array().unwrap().len(), cases.len());
        for (case, log) in cases.iter().zip(logs.as_array().unwrap()) {
            check(case, log);
            let tags = log["ddtags"].as_str().unwrap();
            let pool = usize::from(case.record.pool_name.is_some());
            prop_assert_eq!(tags.split(',').count(), 3 + pool, "no text of an event makes a tag: {}", tags);
        }
    }
}

fn log(event: &Routed<'_>) -> Value {
    strict(&shape::shape(&config(), event).bytes)
}

#[test]
fn every_key_of_the_schema_and_one_of_a_later_version_arrives() {
    let case = everything();
    check(&case, &log(&case.routed()));
    for (_, case) in samples() {
        check(&case, &log(&case.routed()));
    }
}

#[test]
fn verdict_and_level_are_told_in_the_words_of_the_platform() {
    let case = sample();
    let blocked = log(&case.routed());
    assert_eq!((&blocked["evt"]["outcome"], &blocked["status"]), (&json!("failure"), &json!("warn")));
    assert_eq!(blocked["ai_gateway"]["status"], "blocked");
    assert_eq!(blocked["duration"], json!(48_213_000), "nanoseconds");
    assert_eq!(blocked["ddtags"], "env:prod,team:soc,pool:prod,component:armor");
    let mapped = log(&Routed { level: Some("alert"), ..case.routed() });
    assert_eq!(mapped["status"], "alert");
}

#[test]
fn event_that_is_too_large_is_cut_and_says_so() {
    let case = oversized();
    let shaped = shape::shape(&config(), &case.routed());
    assert!(shaped.cut && shaped.bytes.len() < 1_000_000, "{}", shaped.bytes.len());
    let truncated = strict(&shaped.bytes)["ai_gateway"]["truncated"].clone();
    assert!(truncated.as_array().unwrap().contains(&json!("later.key_199")));
}

#[test]
fn request_is_the_golden_one() {
    let request = request::request(&config(), &credential(), &shaped(&[sample()]));
    assert!(request.headers["dd-api-key"].is_sensitive());
    golden::check("datadog/request.txt", &text(&request));
}

#[test]
fn limits_are_those_of_the_intake() {
    assert_eq!(request::LIMITS, Limits { events: 1_000, bytes: 4_250_000, span: None });
    let margin = datadog::MAX_AGE - datadog::MAX_GIVE_UP_AFTER;
    assert_eq!((datadog::MAX_AGE.as_secs(), margin.as_secs()), (18 * 3_600, 3_600));
}

#[test]
fn every_documented_answer_has_its_verdict() {
    let errors = br#"{"errors":[{"status":"400","title":"Bad Request","detail":"secret value"}]}"#;
    for (status, body, one, two) in [
        (202, &b"{}"[..], "delivered", "delivered"),
        (202, b"", "delivered", "delivered"),
        (200, b"{}", "delivered", "delivered"),
        (400, errors, "drop http-400", "split http-400"),
        (401, errors, "auth http-401", "auth http-401"),
        (403, errors, "auth http-403", "auth http-403"),
        (404, errors, "config http-404 site", "config http-404 site"),
        (408, errors, "retry http-408 after 7", "retry http-408 after 7"),
        (413, errors, "drop http-413", "split http-413"),
        (429, errors, "retry http-429 after 7", "retry http-429 after 7"),
        (500, errors, "retry http-500 after 7", "retry http-500 after 7"),
        (503, errors, "retry http-503 after 7", "retry http-503 after 7"),
        (302, b"", "config http-302 site", "config http-302 site"),
        // A success that the intake does not give.
        (202, errors, "config datadog-no-response site", "config datadog-no-response site"),
        (200, b"<html>", "config datadog-no-response site", "config datadog-no-response site"),
    ] {
        assert_eq!(judged(answer::outcome, status, body, 1), one);
        assert_eq!(judged(answer::outcome, status, body, 2), two);
    }
}
