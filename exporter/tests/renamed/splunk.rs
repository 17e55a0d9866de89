//! The HTTP Event Collector.

use exporter::address::Policy;
use exporter::answer::Answer;
use exporter::destination::splunk::{Channel, Config, Credential, Spec, acknowledgement, answer, request, shape};
use exporter::destination::{Routed, Shaped};
use exporter::mapping::Platform;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden;
use crate::reading::{Strict, compare, everything, judged, oversized, sample, strict, text};
use crate::support::{Case, case, samples};

fn config(json: &str) -> Config {
    Config::new(serde_json::from_str::<Spec>(json).unwrap(), Policy::STRICT).unwrap()
}

fn plain() -> Config {
    config(r#"{"url":"https://splunk.example.com:8088","index":"mcp"}"#)
}

fn credential() -> Credential {
    Credential::new(&"token-of-test".into()).unwrap()
}

fn shaped(cases: &[Case]) -> Vec<Shaped> {
    cases.iter().map(|case| shape::shape(&plain(), &case.routed())).collect()
}

fn envelopes(body: &[u8]) -> Vec<Value> {
    serde_json::Deserializer::from_slice(body).into_iter::<Strict>().map(|value| value.unwrap().0).collect()
}

fn check(case: &Case, envelope: &Value) {
    let event = envelope["event"].as_object().unwrap();
    let found = compare(case, Platform::Splunk, |name| match name {
        Ok(name) => event.get(name).cloned(),
        Err(own) => event["ai_gateway"].get(own).cloned(),
    });
    let own = event["ai_gateway"].as_object().unwrap().len();
    assert_eq!(event.len() - 2 + own, found, "the values of the event, beside its level, and nothing else");
    assert_eq!(envelope["host"], case.record.component_instance.as_str());
    let ms = (envelope["time"].as_f64().unwrap() * 1_000.0).round();
    assert_eq!(ms as u64, case.record.timestamp.unix_ms());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn collector_reads_every_value_of_every_event(cases in proptest::collection::vec(case(), 1..4)) {
        let request = request::request(&plain(), &credential(), None, &shaped(&cases));
        let read = envelopes(&request.body);
        prop_assert_eq!(read.len(), cases.len());
        for (case, envelope) in cases.iter().zip(&read) {
            check(case, envelope);
        }
    }
}

#[test]
fn every_key_of_the_schema_and_one_of_a_later_version_arrives() {
    let case = everything();
    let shaped = shape::shape(&plain(), &case.routed());
    check(&case, &strict(&shaped.bytes));
    assert!(!shaped.cut);
}

#[test]
fn level_and_index_of_the_destination_and_of_an_override_are_used() {
    let case = sample();
    let shaped = |event: Routed<'_>, config: &Config| strict(&shape::shape(config, &event).bytes);
    let default = shaped(case.routed(), &plain());
    assert_eq!((&default["index"], &default["event"]["severity"]), (&json!("mcp"), &json!("medium")));
    let other = Routed { level: Some("high"), index: Some("mcp-pci"), ..case.routed() };
    let other = shaped(other, &plain());
    assert_eq!((&other["index"], &other["event"]["severity"]), (&json!("mcp-pci"), &json!("high")));
    assert_eq!(other["event"]["ai_gateway"]["severity"], "warn");
    let token = shaped(case.routed(), &config(r#"{"url":"https://splunk.example.com:8088"}"#));
    assert_eq!(token.get("index"), None);
}

#[test]
fn event_that_is_too_large_is_cut_and_says_so() {
    let case = oversized();
    let shaped = shape::shape(&plain(), &case.routed());
    assert!(shaped.cut && shaped.bytes.len() < request::LIMITS.bytes, "{}", shaped.bytes.len());
    let event = &strict(&shaped.bytes)["event"];
    assert!(event["ai_gateway"]["truncated"].as_array().unwrap().contains(&json!("later.key_199")));
    assert_eq!(event["ai_gateway"]["event_id"], case.value()["event_id"]);
}

#[test]
fn request_is_the_golden_one() {
    let request = request::request(&plain(), &credential(), Some(&Channel::new(7 << 64)), &shaped(&[sample()]));
    assert!(request.headers["authorization"].is_sensitive());
    golden::check("splunk/request.txt", &text(&request));
}

/// `content/validate` holds these against the data models of the Common Information Model.
#[test]
fn samples_are_the_golden_ones() {
    let cases: Vec<Case> = samples().into_iter().map(|(_, case)| case).collect();
    let lines = shaped(&cases).into_iter().map(|shaped| String::from_utf8(shaped.bytes.to_vec()).unwrap() + "\n");
    golden::check("splunk/samples.ndjson", &lines.collect::<String>());
}

#[test]
fn every_documented_answer_has_its_verdict() {
    for (status, code, one, two) in [
        (200, 0, "delivered", "delivered"),
        (200, 24, "delivered", "delivered"),
        (200, 25, "delivered", "delivered"),
        (200, 17, "config hec-17 url", "config hec-17 url"),
        (400, 5, "drop hec-5", "split hec-5"),
        (400, 6, "drop hec-6", "split hec-6"),
        (400, 12, "drop hec-12", "split hec-12"),
        (400, 13, "drop hec-13", "split hec-13"),
        (400, 15, "drop hec-15", "split hec-15"),
        (400, 7, "config hec-7 index", "config hec-7 index"),
        (400, 10, "config hec-10 acknowledgement", "config hec-10 acknowledgement"),
        (400, 11, "config hec-11 acknowledgement", "config hec-11 acknowledgement"),
        (400, 14, "config hec-14 acknowledgement", "config hec-14 acknowledgement"),
        (400, 16, "config hec-16 url", "config hec-16 url"),
        (401, 2, "auth hec-2", "auth hec-2"),
        (401, 3, "auth hec-3", "auth hec-3"),
        (403, 1, "auth hec-1", "auth hec-1"),
        (403, 4, "auth hec-4", "auth hec-4"),
        (400, 21, "auth hec-21", "auth hec-21"),
        (400, 22, "auth hec-22", "auth hec-22"),
        (429, 26, "retry hec-26 after 7", "retry hec-26 after 7"),
        (429, 27, "retry hec-27 after 7", "retry hec-27 after 7"),
        (500, 8, "retry hec-8 after 7", "retry hec-8 after 7"),
        (503, 9, "retry hec-9 after 7", "retry hec-9 after 7"),
        (503, 18, "retry hec-18 after 7", "retry hec-18 after 7"),
        (503, 19, "retry hec-19 after 7", "retry hec-19 after 7"),
        (503, 20, "retry hec-20 after 7", "retry hec-20 after 7"),
        (503, 23, "retry hec-23 after 7", "retry hec-23 after 7"),
        // Not documented: by the status alone.
        (400, 99, "drop http-400", "split http-400"),
        (404, 404, "config http-404 url", "config http-404 url"),
        (502, -1, "retry http-502 after 7", "retry http-502 after 7"),
    ] {
        let body = json!({"text": "anything", "code": code}).to_string();
        assert_eq!(judged(answer::outcome, status, body.as_bytes(), 1), one, "{status}/{code}");
        assert_eq!(judged(answer::outcome, status, body.as_bytes(), 2), two, "{status}/{code}");
    }
}

#[test]
fn answer_without_a_code_is_judged_by_its_status_and_never_delivered() {
    for (status, expected) in [
        (200, "config hec-no-code url"),
        (302, "config http-302 url"),
        (401, "auth http-401"),
        (413, "split http-413"),
        (503, "retry http-503 after 7"),
    ] {
        for body in [&b""[..], b"<html>Please log in</html>", b"{\"text\":\"Success\"}", b"[0]"] {
            assert_eq!(judged(answer::outcome, status, body, 2), expected);
        }
    }
}

#[test]
fn event_that_the_collector_names_is_dropped_and_the_others_are_sent_again() {
    let body = br#"{"text":"Event field cannot be blank","code":13,"invalid-event-number":1}"#;
    assert_eq!(judged(answer::outcome, 400, body, 3), "retry hec-13, drop hec-13, retry hec-13");
    assert_eq!(judged(answer::outcome, 400, body, 1), "drop hec-13");
    let beyond = br#"{"text":"Invalid data format","code":6,"invalid-event-number":9}"#;
    assert_eq!(judged(answer::outcome, 400, beyond, 3), "split hec-6");
}

#[test]
fn acknowledgement_is_asked_for_by_channel_and_only_true_counts() {
    let config = config(r#"{"url":"https://splunk.example.com:8088","acknowledgement":true}"#);
    let channel = Channel::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    let poll = acknowledgement::request(&config, &credential(), &channel, &[7, 8]).unwrap();
    let guid = "01234567-89ab-cdef-0123-456789abcdef";
    assert_eq!(poll.url.as_str(), format!("https://splunk.example.com:8088/services/collector/ack?channel={guid}"));
    assert_eq!(poll.headers["x-splunk-request-channel"], guid);
    assert_eq!(poll.body, r#"{"acks":[7,8]}"#);
    assert!(acknowledgement::request(&plain(), &credential(), &channel, &[7]).is_none());

    let headers = HeaderMap::new();
    let answer = |status: u16, body| Answer { status: StatusCode::from_u16(status).unwrap(), headers: &headers, body };
    assert_eq!(acknowledgement::id(&answer(200, br#"{"text":"Success","code":0,"ackId":7}"#)), Some(7));
    assert_eq!(acknowledgement::id(&answer(200, br#"{"text":"Success","code":0}"#)), None);
    assert_eq!(acknowledgement::id(&answer(503, br#"{"text":"busy","code":9,"ackId":7}"#)), None);
    let acks = br#"{"acks":{"7":true,"8":false,"11":true}}"#;
    assert_eq!(acknowledgement::indexed(&answer(200, acks)), Some(vec![7, 11]));
    assert_eq!(acknowledgement::indexed(&answer(200, b"{}")), None);
    assert_eq!(acknowledgement::indexed(&answer(400, acks)), None);
}
