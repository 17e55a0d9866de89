//! Entries of PutEvents, and sessions of a role.

use exporter::address::Policy;
use exporter::answer::{Answer, Outcome, Verdict};
use exporter::destination::event_bridge::{Config, Credentials, Spec, answer, request, shape, sts};
use exporter::destination::{Request, Shaped};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::golden;
use crate::support::{Case, case, samples};

const BUS: &str = "arn:aws:events:eu-central-1:123456789012:event-bus/soc";

fn config() -> Config {
    let spec: Spec = serde_json::from_value(json!({"region": "eu-central-1", "eventBus": BUS})).unwrap();
    Config::new(spec, Policy::STRICT).unwrap()
}

fn credentials(token: Option<&str>) -> Credentials {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    Credentials::new("AKIDEXAMPLEEXAMPLE01", secret.into(), token.map(SecretString::from)).unwrap()
}

fn shaped(cases: &[Case]) -> Vec<Shaped> {
    cases.iter().map(|case| shape::shape(&config(), &case.routed())).collect()
}

fn sent(events: &[Shaped], token: Option<&str>) -> Request {
    request::request(&config(), &credentials(token), events, Timestamp::from_second(1_795_245_180).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn entries_of_any_events_are_read_back_and_ten_stay_below_the_limit(
        cases in proptest::collection::vec(case(), 1..=10),
    ) {
        let body: Value = serde_json::from_slice(&sent(&shaped(&cases), None).body).unwrap();
        let entries = body["Entries"].as_array().unwrap();
        prop_assert_eq!(entries.len(), cases.len());
        let mut total = 0;
        for (entry, case) in entries.iter().zip(&cases) {
            let text = |key: &str| entry[key].as_str().unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(text("Detail")).unwrap(), case.value());
            prop_assert_eq!((text("Source"), text("EventBusName")), ("ai-gateway", BUS));
            prop_assert_eq!(text("DetailType"), case.record.event.as_str());
            prop_assert_eq!(entry["Time"].as_i64().unwrap(), case.record.timestamp.timestamp().as_second());
            prop_assert_eq!(entry.as_object().unwrap().len(), 5);
            let size = shape::entry_size(text("Source"), text("DetailType"), text("Detail"));
            prop_assert!(size <= shape::ENTRY_BYTES);
            total += size;
        }
        prop_assert!(total < 256_000);
    }
}

#[test]
fn entry_that_is_too_large_is_cut_and_says_so() {
    let (_, mut case) = samples().remove(0);
    for i in 0..40 {
        case = case.with(&format!("x.{i}"), &"\"".repeat(1_000));
    }
    let shaped = shape::shape(&config(), &case.routed());
    assert!(shaped.cut);
    let entry: Value = serde_json::from_slice(&shaped.bytes).unwrap();
    let detail = entry["Detail"].as_str().unwrap();
    assert!(shape::entry_size("ai-gateway", entry["DetailType"].as_str().unwrap(), detail) <= shape::ENTRY_BYTES);
    let detail: Value = serde_json::from_str(detail).unwrap();
    assert_eq!(detail["truncated"][0], "x.39");
    assert_eq!(detail["event_id"], case.value()["event_id"]);
}

#[test]
fn size_rule_counts_time_and_text_before_it_is_escaped() {
    assert_eq!(shape::entry_size("ab", "cde", "{\"é\":\"\\\"\"}"), 14 + 2 + 3 + 11);
}

#[test]
fn request_is_the_golden_one() {
    let cases: Vec<Case> = samples().into_iter().take(2).map(|(_, case)| case).collect();
    for (name, token) in [("keys", None), ("session", Some("IQoJb3JpZ2luX2VjEXAMPLE//token=="))] {
        let request = sent(&shaped(&cases), token);
        assert!(!request.compress, "the signature is of the bytes as they are");
        let mut text = format!("POST {}\n", request.url);
        let mut names: Vec<_> = request.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        for name in names {
            text.push_str(&format!("{name}: {}\n", request.headers[name].to_str().unwrap()));
        }
        text.push('\n');
        text.push_str(std::str::from_utf8(&request.body).unwrap());
        text.push('\n');
        golden::check(&format!("event_bridge/request.{name}.txt"), &text);
        assert!(request.headers["authorization"].is_sensitive());
    }
}

fn outcome(status: u16, headers: &HeaderMap, body: &str, events: usize) -> Outcome {
    let status = StatusCode::from_u16(status).unwrap();
    answer::outcome(&Answer { status, headers, body: body.as_bytes() }, events)
}

fn word(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Delivered => ("delivered", String::new()),
        Verdict::Retry { code, .. } => ("retry", code.as_str().to_owned()),
        Verdict::Split { code } => ("split", code.as_str().to_owned()),
        Verdict::Drop { code } => ("drop", code.as_str().to_owned()),
        Verdict::Auth { code } => ("auth", code.as_str().to_owned()),
        Verdict::Config { code, .. } => ("config", code.as_str().to_owned()),
    }
}

#[test]
fn every_documented_entry_error_has_its_verdict_at_its_place() {
    let table = [
        ("InternalFailure", "retry"),
        ("ThrottlingException", "retry"),
        ("MalformedDetail", "drop"),
        ("InvalidArgument", "drop"),
        ("RedactionFailure", "drop"),
        ("AccessDeniedException", "auth"),
        ("InvalidAccountIdException", "auth"),
        ("NotAuthorizedForSourceException", "auth"),
        ("NotAuthorizedForDetailTypeException", "auth"),
    ];
    for (code, expected) in table {
        let body = json!({"FailedEntryCount": 1, "Entries": [
            {"EventId": "a"}, {"ErrorCode": code, "ErrorMessage": "text that is not kept"}, {"EventId": "b"},
        ]});
        let Outcome::Each(verdicts) = outcome(200, &HeaderMap::new(), &body.to_string(), 3) else {
            panic!("one verdict each")
        };
        assert_eq!(verdicts[0], Verdict::Delivered);
        assert_eq!(word(&verdicts[1]), (expected, code.to_owned()));
        assert_eq!(verdicts[2], Verdict::Delivered);
    }
    let body = json!({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "NewIn2027"}]}).to_string();
    let Outcome::Each(verdicts) = outcome(200, &HeaderMap::new(), &body, 1) else { panic!("one verdict each") };
    assert_eq!(word(&verdicts[0]), ("retry", "unknown-entry-error".to_owned()));
}

#[test]
fn success_that_does_not_account_for_every_entry_is_no_delivery() {
    for body in [
        "",
        "{}",
        "<html>",
        r#"{"FailedEntryCount":0,"Entries":[]}"#,
        r#"{"FailedEntryCount":0,"Entries":[{"EventId":"a"}]}"#,
        r#"{"FailedEntryCount":1,"Entries":[{"EventId":"a"},{"EventId":"b"}]}"#,
    ] {
        let Outcome::All(verdict) = outcome(200, &HeaderMap::new(), body, 2) else { panic!("for all: {body}") };
        assert_eq!(word(&verdict), ("retry", "unreadable-answer".to_owned()), "{body}");
    }
    let silent = r#"{"FailedEntryCount":0,"Entries":[{"EventId":"a"},{}]}"#;
    let Outcome::Each(verdicts) = outcome(200, &HeaderMap::new(), silent, 2) else { panic!("one verdict each") };
    assert_eq!(word(&verdicts[1]).0, "retry");
}

#[test]
fn every_documented_error_of_a_request_has_its_verdict() {
    for (status, kind, expected) in [
        (400, "ThrottlingException", "retry"),
        (500, "InternalException", "retry"),
        (500, "InternalFailure", "retry"),
        (503, "ServiceUnavailable", "retry"),
        (400, "RequestExpired", "retry"),
        (400, "RequestAbortedException", "retry"),
        (408, "RequestTimeoutException", "retry"),
        (400, "AccessDeniedException", "auth"),
        (401, "NotAuthorized", "auth"),
        (400, "ExpiredTokenException", "auth"),
        (400, "UnrecognizedClientException", "auth"),
        (400, "InvalidSignatureException", "auth"),
        (400, "IncompleteSignatureException", "auth"),
        (403, "MissingAuthenticationToken", "auth"),
        (403, "OptInRequired", "auth"),
        (400, "ResourceNotFoundException", "config"),
        (404, "UnknownOperationException", "config"),
        (400, "ValidationException", "split"),
        (400, "SerializationException", "split"),
        (413, "RequestEntityTooLargeException", "split"),
        (400, "SomethingElse", "split"),
        (403, "SomethingElse", "auth"),
        (418, "SomethingElse", "config"),
        (502, "", "retry"),
        (301, "", "config"),
    ] {
        let verdict = |headers: &HeaderMap, body: &str, events| match outcome(status, headers, body, events) {
            Outcome::All(verdict) => word(&verdict).0,
            Outcome::Each(_) => panic!("one verdict for all"),
        };
        let none = HeaderMap::new();
        assert_eq!(verdict(&none, &json!({"__type": kind}).to_string(), 2), expected, "{status} {kind}");
        let long = format!("com.amazonaws.events#{kind}");
        assert_eq!(verdict(&none, &json!({"__type": long}).to_string(), 2), expected, "{status} {long}");
        let header: HeaderMap =
            [("x-amzn-errortype".parse().unwrap(), format!("{kind}:http://x/").parse().unwrap())].into_iter().collect();
        assert_eq!(verdict(&header, "", 2), expected, "{status} {kind} in a header");
        if expected == "split" {
            assert_eq!(verdict(&none, &json!({"__type": kind}).to_string(), 1), "drop");
        }
    }
}

#[test]
fn role_is_asked_for_with_the_token_in_a_form_and_no_signature() {
    let role = "arn:aws:iam::123456789012:role/soc+exporter";
    let token = SecretString::from("eyJhbGciOi.J9.sig-_\n");
    let request = sts::request("eu-central-1", role, "prod-exporter-1", &token).unwrap();
    assert_eq!(request.url.as_str(), "https://sts.eu-central-1.amazonaws.com/");
    assert!(request.headers.get("authorization").is_none() && !request.compress);
    let pairs: Vec<_> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let expected = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", "prod-exporter-1"),
        ("WebIdentityToken", "eyJhbGciOi.J9.sig-_"),
    ];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(!format!("{request:?}").contains("eyJ"));
    for (region, role, name, field) in [
        ("evil.com/", role, "ab", "region"),
        ("eu-central-1", "soc", "ab", "roleArn"),
        ("eu-central-1", role, "a b", "roleSessionName"),
        ("eu-central-1", role, "a", "roleSessionName"),
    ] {
        assert_eq!(sts::request(region, role, name, &token).unwrap_err().field, field);
    }
}

fn session(status: u16, body: &str) -> Result<sts::Session, Verdict> {
    let status = StatusCode::from_u16(status).unwrap();
    sts::session(&Answer { status, headers: &HeaderMap::new(), body: body.as_bytes() })
}

#[test]
fn session_of_a_role_is_read_with_its_end() {
    let body = r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>system:serviceaccount:gateways:exporter</SubjectFromWebIdentityToken>
    <Audience>sts.amazonaws.com</Audience>
    <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/soc/x</Arn></AssumedRoleUser>
    <Credentials>
      <SessionToken>AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE</SessionToken>
      <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>
      <Expiration>2026-11-21T08:13:00Z</Expiration>
      <AccessKeyId>ASgeIAIOSFODNN7EXAMPLE</AccessKeyId>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"#;
    let session = session(200, body).unwrap();
    assert_eq!(session.expires.to_string(), "2026-11-21T08:13:00Z");
    assert_eq!(session.credentials.session_token(), Some("AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE"));
    assert!(format!("{session:?}").contains("ASgeIAIOSFODNN7EXAMPLE"));
    assert!(!format!("{session:?}").contains("wJalr"));
}

#[test]
fn answers_of_sts_without_a_session_have_their_verdicts() {
    let error = |code: &str| {
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>text</Message></Error></ErrorResponse>"
        )
    };
    for (status, body, expected) in [
        (400, error("ExpiredTokenException"), "auth"),
        (400, error("InvalidIdentityToken"), "auth"),
        (403, error("IDPRejectedClaim"), "auth"),
        (403, error("AccessDenied"), "auth"),
        (400, error("ValidationError"), "auth"),
        (400, error("SomethingElse"), "auth"),
        (400, error("IDPCommunicationError"), "retry"),
        (400, error("Throttling"), "retry"),
        (403, error("RegionDisabledException"), "config"),
        (503, "<html>".to_owned(), "retry"),
        (200, "not XML".to_owned(), "retry"),
        (200, "<a/>".to_owned(), "retry"),
        (200, "<a><Credentials><AccessKeyId>short</AccessKeyId></Credentials></a>".to_owned(), "retry"),
        (200, "<!DOCTYPE a [<!ENTITY b \"b\">]><a>&b;</a>".to_owned(), "retry"),
    ] {
        assert_eq!(word(&session(status, &body).unwrap_err()).0, expected, "{status} {body}");
    }
}
