//! `_bulk` of Elasticsearch and OpenSearch.

use exporter::address::Policy;
use exporter::destination::elasticsearch::{Config, Credential, Spec, answer, request, shape};
use exporter::destination::{Routed, Shaped};
use exporter::mapping::Platform;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden;
use crate::reading::{at, compare, everything, judged, leaves, oversized, sample, strict, text};
use crate::support::{Case, case, samples};

fn config() -> Config {
    let spec: Spec = serde_json::from_str(r#"{"url":"https://es.example.com:9200"}"#).unwrap();
    Config::new(spec, Policy::STRICT).unwrap()
}

fn credential() -> Credential {
    Credential::new(&config(), &"a2V5LW9mLXRlc3Q=".into()).unwrap()
}

fn shaped(cases: &[Case]) -> Vec<Shaped> {
    cases.iter().map(|case| shape::shape(&case.routed())).collect()
}

/// What the schema wants beside the values of the event.
const DERIVED: [&str; 7] =
    ["log.level", "event.severity", "ecs.version", "event.kind", "event.category", "event.type", "event.outcome"];

fn check(case: &Case, document: &Value) {
    let found = compare(case, Platform::Ecs, |name| match name {
        Ok(path) => at(document, path),
        Err(own) => document["ai_gateway"].get(own).cloned(),
    });
    let derived = DERIVED.iter().filter(|path| at(document, path).is_some()).count();
    assert_eq!(leaves(document), found + derived, "the values of the event, those of the schema and nothing else");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn bulk_body_is_two_lines_for_each_event_with_every_value(cases in proptest::collection::vec(case(), 1..4)) {
        let request = request::request(&config(), &credential(), &shaped(&cases));
        let body = std::str::from_utf8(&request.body).unwrap();
        prop_assert!(body.ends_with('\n'));
        let lines: Vec<&str> = body.split_terminator('\n').collect();
        prop_assert_eq!(lines.len(), 2 * cases.len());
        for (case, lines) in cases.iter().zip(lines.chunks(2)) {
            prop_assert_eq!(strict(lines[0].as_bytes()), json!({"create": {"_id": case.value()["event_id"]}}));
            check(case, &strict(lines[1].as_bytes()));
        }
    }
}

fn document(event: &Routed<'_>) -> Value {
    let shaped = shape::shape(event);
    strict(shaped.bytes.split(|byte| *byte == b'\n').nth(1).unwrap())
}

#[test]
fn every_key_of_the_schema_and_one_of_a_later_version_arrives() {
    let case = everything();
    check(&case, &document(&case.routed()));
    for (_, case) in samples() {
        check(&case, &document(&case.routed()));
    }
}

#[test]
fn line_breaks_between_the_values_of_an_event_do_not_end_its_document() {
    let case = everything();
    let canonical = serde_json::to_vec_pretty(&case.value()).unwrap();
    let shaped = shape::shape(&Routed { canonical: &canonical, ..case.routed() });
    assert_eq!(shaped.bytes.iter().filter(|byte| **byte == b'\n').count(), 2);
    check(&case, &document(&Routed { canonical: &canonical, ..case.routed() }));
}

#[test]
fn verdict_of_a_call_is_told_in_the_words_of_the_schema() {
    let event = |name: &str| {
        let case = samples().into_iter().find(|(sample, _)| sample == name).unwrap().1;
        document(&case.routed())["event"].clone()
    };
    let blocked = event("tool_call.blocked");
    assert_eq!(blocked["type"], json!(["access", "denied"]));
    assert_eq!((&blocked["category"], &blocked["outcome"]), (&json!(["api"]), &json!("failure")));
    let allowed = event("tool_call.minimal");
    assert_eq!(allowed["type"], json!(["access", "allowed"]));
    assert_eq!(allowed["outcome"], "success");
    assert_eq!(event("config_change").get("outcome"), None);
    assert_eq!(event("auth_denied")["category"], json!(["authentication"]));
    let case = sample();
    let level = document(&Routed { level: Some("critical"), ..case.routed() });
    assert_eq!((&level["log"]["level"], &level["event"]["severity"]), (&json!("critical"), &json!(5)));
    // 48.213 ms
    assert_eq!(level["event"]["duration"], json!(48_213_000));
}

#[test]
fn event_with_a_value_that_no_keyword_can_hold_is_cut_and_says_so() {
    let case = sample().with("later.key", &"x".repeat(40_000));
    let shaped = shape::shape(&case.routed());
    assert!(shaped.cut);
    let own = &document(&case.routed())["ai_gateway"];
    assert_eq!((own.get("later_key"), &own["truncated"]), (None, &json!(["later.key"])));
    assert!(shape::shape(&oversized().routed()).bytes.len() < 100_000);
    assert!(!shape::shape(&sample().routed()).cut);
}

#[test]
fn request_is_the_golden_one() {
    let request = request::request(&config(), &credential(), &shaped(&[sample()]));
    assert!(request.headers["authorization"].is_sensitive());
    golden::check("elasticsearch/request.txt", &text(&request));
}

#[test]
fn password_is_sent_with_the_name_of_its_user() {
    let spec: Spec = serde_json::from_str(r#"{"url":"https://es.example.com","username":"exporter"}"#).unwrap();
    let config = Config::new(spec, Policy::STRICT).unwrap();
    let credential = Credential::new(&config, &"pässword\n".into()).unwrap();
    let headers = request::request(&config, &credential, &[]).headers;
    // base64 of `exporter:pässword` in UTF-8.
    assert_eq!(headers["authorization"], "Basic ZXhwb3J0ZXI6cMOkc3N3b3Jk");
}

#[test]
fn every_item_has_its_verdict() {
    let error = |kind: &str| json!({"type": kind, "reason": "secret value of the event"});
    for (item, expected) in [
        (json!({"status": 201}), "delivered"),
        (json!({"status": 201, "failure_store": "not_applicable_or_unknown"}), "delivered"),
        (json!({"status": 201, "failure_store": "used"}), "drop failure-store"),
        (json!({"status": 409, "error": error("version_conflict_engine_exception")}), "delivered"),
        (json!({"status": 409, "error": error("other")}), "retry http-409"),
        (json!({"status": 400, "error": error("mapper_parsing_exception")}), "drop mapper_parsing_exception"),
        (json!({"status": 400, "error": error("document_parsing_exception")}), "drop document_parsing_exception"),
        (json!({"status": 400, "error": error("illegal_argument_exception")}), "drop illegal_argument_exception"),
        (json!({"status": 400, "error": error("something\nelse")}), "drop http-400"),
        (json!({"status": 403, "error": error("security_exception")}), "auth security_exception"),
        (json!({"status": 403, "error": error("cluster_block_exception")}), "retry cluster_block_exception"),
        (
            json!({"status": 404, "error": error("index_not_found_exception")}),
            "config index_not_found_exception dataStream",
        ),
        (
            json!({"status": 429, "error": error("es_rejected_execution_exception")}),
            "retry es_rejected_execution_exception",
        ),
        (json!({"status": 500, "error": error("x")}), "retry http-500"),
        (json!({"status": 503}), "retry http-503"),
    ] {
        // Between two that were stored: each has a verdict of its own.
        let stored = json!({"create": {"status": 201}});
        let body = json!({"errors": true, "items": [stored, {"create": item}, stored]}).to_string();
        let all = ["delivered", expected, "delivered"].join(", ");
        let expected = if expected == "delivered" { expected.to_owned() } else { all };
        assert_eq!(judged(answer::outcome, 200, body.as_bytes(), 3), expected, "{body}");
    }
}

#[test]
fn every_answer_to_the_whole_request_has_its_verdict() {
    for (status, expected) in [
        (400, "split http-400"),
        (401, "auth http-401"),
        (403, "auth http-403"),
        (404, "config http-404 dataStream"),
        (406, "config http-406 url"),
        (413, "split http-413"),
        (429, "retry http-429 after 7"),
        (503, "retry http-503 after 7"),
        (301, "config http-301 url"),
        // A success must have one result for each event.
        (200, "config bulk-no-items url"),
    ] {
        assert_eq!(judged(answer::outcome, status, b"{}", 2), expected);
    }
    let one = br#"{"errors":false,"items":[{"create":{"status":201}}]}"#;
    assert_eq!(judged(answer::outcome, 200, one, 2), "retry bulk-items-missing");
    assert_eq!(judged(answer::outcome, 200, one, 1), "delivered");
    // `index` answers are not of this request.
    let index = br#"{"errors":false,"items":[{"index":{"status":201}}]}"#;
    assert_eq!(judged(answer::outcome, 200, index, 1), "config bulk-no-items url");
}
