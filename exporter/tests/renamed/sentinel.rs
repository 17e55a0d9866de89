//! The Logs Ingestion API of Azure Monitor, and the tokens for it.

use exporter::address::Policy;
use exporter::answer::Answer;
use exporter::destination::sentinel::{Config, Credential, Spec, answer, request, shape, token};
use exporter::destination::{Routed, Shaped};
use exporter::mapping::Platform;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::golden;
use crate::reading::{compare, everything, judged, oversized, sample, strict, text, word};
use crate::support::{Case, case, samples};

fn config(identity: &str) -> Config {
    let spec = json!({
        "endpoint": "https://mcp-audit-ab12.westeurope-1.ingest.monitor.azure.com",
        "ruleId": "dcr-00000000000000000000000000000abc",
        "stream": "Custom-AiGatewayAgentEvent",
        "tenantId": "11111111-2222-3333-4444-555555555555",
        "clientId": "66666666-7777-8888-9999-aaaaaaaaaaaa",
        "identity": identity,
    });
    Config::new(serde_json::from_value::<Spec>(spec).unwrap(), Policy::STRICT).unwrap()
}

fn credential() -> Credential {
    Credential::new(&"token-of-test".into()).unwrap()
}

fn shaped(cases: &[Case]) -> Vec<Shaped> {
    cases.iter().map(|case| shape::shape(&case.routed())).collect()
}

fn check(case: &Case, row: &Value) {
    let columns = row.as_object().unwrap();
    let additional = row["AdditionalFields"].as_object().unwrap();
    let found = compare(case, Platform::Asim, |name| match name {
        Ok(name) => columns.get(name).cloned(),
        Err(own) => additional.get(own).cloned(),
    });
    // EventStartTime, EventEndTime, EventSchema, EventSchemaVersion, EventVendor, EventProduct, EventSeverity.
    let constant = 7 + usize::from(case.record.repeat_count.is_none());
    assert_eq!(columns.len() - 1 + additional.len(), found + constant, "the values of the event and nothing else");
    assert_eq!(row["EventEndTime"], case.value()["timestamp"]);
    assert!(row["EventCount"].is_u64());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn rule_reads_every_value_of_every_row(cases in proptest::collection::vec(case(), 1..4)) {
        let request = request::request(&config("ClientSecret"), &credential(), &shaped(&cases));
        let rows = strict(&request.body);
        prop_assert_eq!(rows.as_array().unwrap().len(), cases.len());
        for (case, row) in cases.iter().zip(rows.as_array().unwrap()) {
            check(case, row);
        }
    }

    #[test]
    fn any_secret_arrives_as_it_is(secret in "[!-~][ -~]{0,60}[!-~]") {
        let request = token::request(&config("ClientSecret"), &secret.clone().into());
        let form: Vec<(String, String)> = form_urlencoded::parse(&request.body).into_owned().collect();
        prop_assert_eq!(&form[3], &("client_secret".to_owned(), secret));
        prop_assert_eq!(form.len(), 4);
    }
}

fn row(event: &Routed<'_>) -> Value {
    strict(&shape::shape(event).bytes)
}

#[test]
fn every_key_of_the_schema_and_one_of_a_later_version_arrives() {
    let case = everything();
    check(&case, &row(&case.routed()));
    for (_, case) in samples() {
        check(&case, &row(&case.routed()));
    }
}

#[test]
fn times_count_and_severity_are_told_in_the_words_of_the_schema() {
    let case = sample();
    let call = row(&case.routed());
    assert_eq!(call["TimeGenerated"], "2026-11-21T07:13:00.250Z");
    // 48.213 ms before the end, of which the milliseconds are kept.
    assert_eq!(call["EventStartTime"], "2026-11-21T07:13:00.201Z");
    assert_eq!((&call["EventCount"], &call["EventSeverity"]), (&json!(1), &json!("Medium")));
    let mapped = row(&Routed { level: Some("High"), ..case.routed() });
    assert_eq!(mapped["EventSeverity"], "High");
    let joined = samples().into_iter().find(|(name, _)| name == "auth_denied.joined").unwrap().1;
    assert_eq!(row(&joined.routed())["EventCount"], json!(412));
}

#[test]
fn no_column_is_longer_than_azure_monitor_keeps() {
    let case = oversized();
    let shaped = shape::shape(&case.routed());
    assert!(shaped.cut);
    let row = strict(&shaped.bytes);
    assert!(row["AdditionalFields"].to_string().len() < 64_000);
    assert!(row["AdditionalFields"]["truncated"].as_array().unwrap().contains(&json!("later.key_199")));
}

#[test]
fn request_is_the_golden_one() {
    let request = request::request(&config("ClientSecret"), &credential(), &shaped(&[sample()]));
    assert!(request.headers["authorization"].is_sensitive());
    golden::check("sentinel/request.txt", &text(&request));
}

#[test]
fn one_request_holds_a_megabyte_and_half_an_hour() {
    assert_eq!(request::LIMITS.bytes, 1_000_000);
    assert_eq!(request::LIMITS.span.unwrap().as_secs(), 1_800);
}

#[test]
fn every_documented_answer_has_its_verdict() {
    let span = br#"{"error":{"code":"RecordsTimeRangeIsMoreThan30Minutes","message":"secret value"}}"#;
    let other = br#"{"error":{"code":"InvalidPayload","message":"secret value"}}"#;
    for (status, body, one, two) in [
        (204, &b""[..], "delivered", "delivered"),
        (400, span, "drop RecordsTimeRangeIsMoreThan30Minutes", "split RecordsTimeRangeIsMoreThan30Minutes"),
        (400, other, "drop http-400", "split http-400"),
        (401, other, "auth http-401", "auth http-401"),
        (403, other, "auth http-403", "auth http-403"),
        (404, other, "config http-404 ruleId", "config http-404 ruleId"),
        (413, b"", "drop http-413", "split http-413"),
        (429, other, "retry http-429 after 7", "retry http-429 after 7"),
        (500, b"", "retry http-500 after 7", "retry http-500 after 7"),
        (503, b"", "retry http-503 after 7", "retry http-503 after 7"),
        (301, b"", "config http-301 endpoint", "config http-301 endpoint"),
        (200, b"<html>", "config sentinel-no-response endpoint", "config sentinel-no-response endpoint"),
    ] {
        assert_eq!(judged(answer::outcome, status, body, 1), one);
        assert_eq!(judged(answer::outcome, status, body, 2), two);
    }
    let headers = HeaderMap::from_iter([(
        "x-ms-error-code".parse().unwrap(),
        "RecordsTimeRangeIsMoreThan30Minutes".parse().unwrap(),
    )]);
    let answer = Answer { status: StatusCode::BAD_REQUEST, headers: &headers, body: b"" };
    let outcome = answer::outcome(&answer, 2);
    assert!(matches!(outcome, exporter::answer::Outcome::All(verdict) if word(&verdict).starts_with("split Records")));
}

#[test]
fn token_is_asked_for_with_the_proof_of_the_identity() {
    let form = |identity: &str| -> Vec<(String, String)> {
        let request = token::request(&config(identity), &"proof + of & test\n".into());
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        assert!(!format!("{request:?}").contains("proof"));
        form_urlencoded::parse(&request.body).into_owned().collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let common = [
        pair("grant_type", "client_credentials"),
        pair("client_id", "66666666-7777-8888-9999-aaaaaaaaaaaa"),
        pair("scope", "https://monitor.azure.com/.default"),
    ];
    let secret = form("ClientSecret");
    assert_eq!(secret[..3], common);
    assert_eq!(secret[3..], [pair("client_secret", "proof + of & test")]);
    let federated = form("WorkloadIdentity");
    assert_eq!(federated[..3], common);
    let kind = pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!(federated[3..], [kind, pair("client_assertion", "proof + of & test")]);
}

#[test]
fn every_answer_to_the_token_request_is_a_token_or_a_verdict_that_blames_no_event() {
    let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, "7".parse().unwrap())]);
    let read = |status: u16, body: &str| {
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers: &headers, body: body.as_bytes() };
        token::answer(&answer).map(|token| (token.secret.expose_secret().to_owned(), token.lifetime.as_secs()))
    };
    let granted = r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"ey.x.y"}"#;
    assert_eq!(read(200, granted).unwrap(), ("ey.x.y".to_owned(), 3599));
    let refused = |error: &str| format!(r#"{{"error":"{error}","error_description":"AADSTS7000215: secret value"}}"#);
    for (status, body, expected) in [
        (200, "<html>".to_owned(), "config token-no-response authority"),
        (200, r#"{"token_type":"Bearer"}"#.to_owned(), "config token-no-response authority"),
        (401, refused("invalid_client"), "auth invalid_client"),
        (400, refused("unauthorized_client"), "auth unauthorized_client"),
        (400, refused("invalid_grant"), "auth invalid_grant"),
        (400, refused("invalid_scope"), "auth invalid_scope"),
        (400, refused("something else"), "auth token-http-400"),
        (400, refused("temporarily_unavailable"), "retry temporarily_unavailable after 7"),
        (403, String::new(), "auth token-http-403"),
        (404, String::new(), "config token-http-404 tenantId"),
        (302, String::new(), "config token-http-302 authority"),
        (429, String::new(), "retry token-http-429 after 7"),
        (413, String::new(), "auth token-http-413"),
        (500, refused("server_error"), "retry token-http-500 after 7"),
        (503, String::new(), "retry token-http-503 after 7"),
    ] {
        assert_eq!(word(&read(status, &body).unwrap_err()), expected, "{status} {body}");
    }
}
