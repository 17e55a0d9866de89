//! OTLP, read back by the types of OpenTelemetry.

use std::collections::BTreeMap;

use exporter::address::Policy;
use exporter::destination::otlp::answer::{Grpc, grpc};
use exporter::destination::otlp::{Config, Credential, Spec, answer, request, shape};
use exporter::destination::{Routed, Shaped};
use exporter::mapping::Platform;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};

use crate::golden;
use crate::reading::{compare, everything, judged, oversized, sample, word};
use crate::support::{Case, case, samples};

fn config(json: &str) -> Config {
    Config::new(serde_json::from_str::<Spec>(json).unwrap(), Policy::STRICT).unwrap()
}

fn http() -> Config {
    config(
        r#"{"url":"https://otel.example.com:4318","headers":{"x-scope-orgid":"soc"},
            "resourceAttributes":{"deployment.environment.name":"prod"}}"#,
    )
}

fn credential() -> Credential {
    Credential::new(&"Bearer token-of-test".into()).unwrap()
}

fn shaped(cases: &[Case]) -> Vec<Shaped> {
    cases.iter().map(|case| shape::shape(&case.routed())).collect()
}

/// The only resource of a request.
pub fn resource_logs(body: &[u8]) -> ResourceLogs {
    let mut message = ExportLogsServiceRequest::decode(body).unwrap();
    assert_eq!(message.resource_logs.len(), 1);
    message.resource_logs.remove(0)
}

/// The records of a request.
pub fn records(body: &[u8]) -> Vec<LogRecord> {
    let mut logs = resource_logs(body);
    assert_eq!(logs.scope_logs.len(), 1);
    let logs = logs.scope_logs.remove(0);
    assert_eq!(logs.scope.unwrap().name, "ai-gateway");
    logs.log_records
}

fn value(any: &AnyValue) -> Value {
    match any.value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => json!(text),
        any_value::Value::BoolValue(bool) => json!(bool),
        any_value::Value::IntValue(int) => json!(int),
        any_value::Value::DoubleValue(double) => json!(double),
        any_value::Value::ArrayValue(array) => array.values.iter().map(value).collect(),
        other => panic!("{other:?}"),
    }
}

/// Attributes by name; no name may be twice.
pub fn attributes(list: &[KeyValue]) -> BTreeMap<String, Value> {
    let map: BTreeMap<_, _> = list.iter().map(|pair| (pair.key.clone(), value(pair.value.as_ref().unwrap()))).collect();
    assert_eq!(map.len(), list.len());
    map
}

/// What the conventions want beside the values of the event.
const DERIVED: [&str; 3] = ["gen_ai.operation.name", "gen_ai.guardrail.action.type", "error.type"];

pub fn check(case: &Case, record: &LogRecord) {
    let attributes = attributes(&record.attributes);
    let mut found = compare(case, Platform::Otel, |name| match name {
        Ok(name) => attributes.get(name).cloned(),
        Err(own) => attributes.get(&format!("ai_gateway.{own}")).cloned(),
    });
    // A trace id that is none has no other place.
    match case.value().get("trace.id").map(|id| (hex::encode(&record.trace_id), id.as_str().unwrap().to_owned())) {
        None => assert!(record.trace_id.is_empty()),
        Some((written, id)) if !written.is_empty() => assert_eq!(written, id.to_lowercase()),
        Some((_, id)) => {
            assert_eq!(attributes["ai_gateway.trace_id"], json!(id));
            found += 1;
        }
    }
    let derived = DERIVED.iter().filter(|name| attributes.contains_key(**name)).count();
    assert_eq!(attributes.len(), found + derived, "the values of the event, those of the conventions and nothing else");
    assert_eq!(record.time_unix_nano, case.record.timestamp.unix_ms() * 1_000_000);
    assert_eq!(value(record.body.as_ref().unwrap()), case.value()["message"]);
    assert_eq!(record.event_name, format!("ai_gateway.{}", case.record.event.as_str()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn server_reads_every_value_of_every_record(cases in proptest::collection::vec(case(), 1..4)) {
        let request = request::request(&http(), Some(&credential()), &shaped(&cases));
        let records = records(&request.body);
        prop_assert_eq!(records.len(), cases.len());
        for (case, record) in cases.iter().zip(&records) {
            check(case, record);
        }
    }
}

fn record(event: &Routed<'_>) -> LogRecord {
    records(&request::request(&http(), None, &[shape::shape(event)]).body).remove(0)
}

#[test]
fn every_key_of_the_schema_and_one_of_a_later_version_arrives() {
    let case = everything();
    check(&case, &record(&case.routed()));
    for (_, case) in samples() {
        check(&case, &record(&case.routed()));
    }
}

#[test]
fn trace_id_is_the_records_own_unless_it_is_none() {
    let case = sample();
    assert_eq!(hex::encode(record(&case.routed()).trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    for id in ["0".repeat(32), "not a trace".into(), "4bf92f".into()] {
        let mut event = case.value();
        event["trace.id"] = json!(id);
        let case = Case::new(events::Record::from_json(event.to_string().as_bytes()).unwrap());
        let record = record(&case.routed());
        assert!(record.trace_id.is_empty());
        assert_eq!(attributes(&record.attributes)["ai_gateway.trace_id"], json!(id));
    }
}

#[test]
fn verdict_and_level_are_told_in_the_words_of_the_conventions() {
    let case = sample();
    let blocked = record(&case.routed());
    let attributes = attributes(&blocked.attributes);
    assert_eq!(attributes["gen_ai.guardrail.action.type"], "block");
    assert_eq!(attributes["error.type"], "blocked");
    assert_eq!((blocked.severity_number, blocked.severity_text.as_str()), (13, "warn"));
    let mapped = record(&Routed { level: Some("critical"), ..case.routed() });
    assert_eq!((mapped.severity_number, mapped.severity_text.as_str()), (21, "critical"));
}

#[test]
fn resource_is_the_component_with_the_attributes_of_the_author() {
    let request = request::request(&http(), Some(&credential()), &shaped(&[sample()]));
    let resource = attributes(&resource_logs(&request.body).resource.unwrap().attributes);
    let expected = [
        ("deployment.environment.name", json!("prod")),
        ("service.name", json!("armor")),
        ("service.namespace", json!("ai-gateway")),
    ];
    assert_eq!(resource.into_iter().collect::<Vec<_>>(), expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(shape::shape(&sample().routed()).group, "armor");
}

#[test]
fn event_that_is_too_large_is_cut_and_says_so() {
    let case = oversized();
    let shaped = shape::shape(&case.routed());
    assert!(shaped.cut && shaped.bytes.len() < request::LIMITS.bytes);
    let record = record(&case.routed());
    let truncated = &attributes(&record.attributes)["ai_gateway.truncated"];
    assert!(truncated.as_array().unwrap().contains(&json!("later.key_199")));
}

#[test]
fn request_is_the_golden_one() {
    let request = request::request(&http(), Some(&credential()), &shaped(&[sample()]));
    assert!(request.compress && request.headers["authorization"].is_sensitive());
    assert_eq!(request.headers["content-type"], "application/x-protobuf");
    assert_eq!(request.headers["authorization"], "Bearer token-of-test");
    assert_eq!(request.headers["x-scope-orgid"], "soc");
    assert_eq!(request.url.as_str(), "https://otel.example.com:4318/v1/logs");
    golden::check("otlp/request.hex", &lines_of_hex(&request.body));
}

/// 32 bytes a line, as `xxd -r -p` reads them.
pub fn lines_of_hex(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| hex::encode(line) + "\n").collect()
}

#[test]
fn grpc_request_is_one_frame_of_the_same_message() {
    let grpc = config(r#"{"url":"https://otel.example.com:4317","protocol":"Grpc","credentialHeader":"api-key"}"#);
    let request = request::request(&grpc, Some(&credential()), &shaped(&[sample()]));
    assert_eq!(request.headers["content-type"], "application/grpc");
    assert_eq!(request.headers["te"], "trailers");
    assert_eq!(request.headers["api-key"], "Bearer token-of-test");
    assert!(!request.compress);
    assert_eq!(request.body[0], 0);
    let length = u32::from_be_bytes(request.body[1..5].try_into().unwrap());
    assert_eq!(length as usize, request.body.len() - 5);
    check(&sample(), &records(&request.body[5..])[0]);
}

fn response(rejected: i64) -> Vec<u8> {
    let partial_success =
        Some(ExportLogsPartialSuccess { rejected_log_records: rejected, error_message: "secret value".into() });
    ExportLogsServiceResponse { partial_success }.encode_to_vec()
}

#[test]
fn success_counts_what_the_server_rejected_and_never_sends_it_again() {
    let partial = "delivered, drop otlp-partial-success";
    for (body, expected) in [
        (vec![], "delivered"),
        (response(0), "delivered"),
        (response(-1), "delivered"),
        (response(1), partial),
        (response(2), "drop otlp-partial-success"),
        (response(9), "drop otlp-partial-success"),
        (b"{}".to_vec(), "delivered"),
        (br#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"x"}}"#.to_vec(), partial),
        (br#"{"partialSuccess":{"rejectedLogRecords":1}}"#.to_vec(), partial),
        (b"<html>Please log in</html>".to_vec(), "config otlp-no-response url"),
        (b"{not json".to_vec(), "config otlp-no-response url"),
    ] {
        assert_eq!(judged(answer::outcome, 200, &body, 2), expected, "{}", String::from_utf8_lossy(&body));
    }
    assert_eq!(judged(answer::outcome, 204, b"", 2), "delivered");
}

#[test]
fn every_http_status_has_its_verdict() {
    for (status, one, two) in [
        (429, "retry http-429 after 7", "retry http-429 after 7"),
        (502, "retry http-502 after 7", "retry http-502 after 7"),
        (503, "retry http-503 after 7", "retry http-503 after 7"),
        (504, "retry http-504 after 7", "retry http-504 after 7"),
        // Not to be retried, and no verdict on each event.
        (400, "drop http-400", "split http-400"),
        (408, "drop http-408", "split http-408"),
        (413, "drop http-413", "split http-413"),
        (500, "drop http-500", "split http-500"),
        (505, "drop http-505", "split http-505"),
        (501, "config http-501 url", "config http-501 url"),
        (401, "auth http-401", "auth http-401"),
        (403, "auth http-403", "auth http-403"),
        (404, "config http-404 url", "config http-404 url"),
        (415, "config http-415 url", "config http-415 url"),
        (307, "config http-307 url", "config http-307 url"),
    ] {
        assert_eq!(judged(answer::outcome, status, b"any text", 1), one);
        assert_eq!(judged(answer::outcome, status, b"any text", 2), two);
    }
}

#[test]
fn every_grpc_status_has_its_verdict() {
    // RetryInfo with a delay of 7 s in a google.rpc.Status, written down by hand from the two .proto files.
    let info = [&[0x0a, 0x28][..], b"type.googleapis.com/google.rpc.RetryInfo", &[0x12, 0x04, 0x0a, 0x02, 0x08, 0x07]];
    let info = info.concat();
    let details = [&[0x08, 0x08, 0x1a, info.len() as u8][..], &info].concat();
    let details = base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, details);
    for (status, plain, with_retry_info) in [
        (0, "delivered", "delivered"),
        (1, "retry grpc-1", "retry grpc-1 after 7"),
        (2, "split grpc-2", "split grpc-2"),
        (3, "split grpc-3", "split grpc-3"),
        (4, "retry grpc-4", "retry grpc-4 after 7"),
        (5, "config grpc-5 url", "config grpc-5 url"),
        (6, "split grpc-6", "split grpc-6"),
        (7, "auth grpc-7", "auth grpc-7"),
        (8, "split grpc-8", "retry grpc-8 after 7"),
        (9, "split grpc-9", "split grpc-9"),
        (10, "retry grpc-10", "retry grpc-10 after 7"),
        (11, "retry grpc-11", "retry grpc-11 after 7"),
        (12, "config grpc-12 url", "config grpc-12 url"),
        (13, "split grpc-13", "split grpc-13"),
        (14, "retry grpc-14", "retry grpc-14 after 7"),
        (15, "retry grpc-15", "retry grpc-15 after 7"),
        (16, "auth grpc-16", "auth grpc-16"),
        (99, "split grpc-99", "split grpc-99"),
    ] {
        for (details, expected) in [(None, plain), (Some(details.as_str()), with_retry_info)] {
            let exporter::answer::Outcome::All(verdict) = grpc(Grpc { status, details, message: b"" }, 2) else {
                panic!("{status} is for all events")
            };
            assert_eq!(word(&verdict), expected);
        }
    }
    let partial = grpc(Grpc { status: 0, details: None, message: &response(1) }, 2);
    assert!(matches!(partial, exporter::answer::Outcome::Each(verdicts) if verdicts.len() == 2));
}
