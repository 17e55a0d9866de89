//! Signed batches.

use base64::Engine as _;
use exporter::address::Policy;
use exporter::answer::{Answer, Outcome, Verdict};
use exporter::destination::Shaped;
use exporter::destination::webhook::{Config, Credential, Spec, answer, request, shape};
use hmac::Mac as _;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::Value;

use crate::golden;
use crate::support::{Case, case, samples};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const OLD_KEY: &[u8] = b"fedcba9876543210fedcba9876543210";

fn config() -> Config {
    let spec: Spec = serde_json::from_str(
        r#"{"url":"https://hooks.example.com/in?tenant=7","headers":[{"name":"X-Team","value":"soc"}]}"#,
    )
    .unwrap();
    Config::new(spec, Policy::STRICT).unwrap()
}

fn secret(key: &[u8]) -> SecretString {
    format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(key)).into()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn shaped(cases: &[Case]) -> Vec<Shaped> {
    cases.iter().map(|case| shape::shape(&case.routed())).collect()
}

/// What a receiver does: the signature over what came, compared with each of those sent.
fn verifies(key: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name| headers.get(name).unwrap().to_str().unwrap();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).as_bytes());
    mac.update(body);
    let expected = format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes()));
    text("webhook-signature").split(' ').any(|signature| signature == expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn receiver_reads_every_event_and_both_keys_verify(cases in proptest::collection::vec(case(), 1..4)) {
        let credential = Credential::new(&secret(KEY), Some(&secret(OLD_KEY))).unwrap();
        let request = request::request(&config(), &credential, &shaped(&cases), at(1_795_245_180));
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        prop_assert_eq!(&body["data"], &Value::Array(cases.iter().map(Case::value).collect()));
        prop_assert_eq!(&body["type"], "ai_gateway.events");
        let latest = cases.iter().map(|case| case.record.timestamp).max().unwrap();
        prop_assert_eq!(&body["timestamp"], &serde_json::to_value(latest).unwrap());
        prop_assert!(verifies(KEY, &request.headers, &request.body));
        prop_assert!(verifies(OLD_KEY, &request.headers, &request.body));
        prop_assert!(!verifies(b"another key of twenty-four bytes", &request.headers, &request.body));
    }
}

#[test]
fn attempts_of_a_batch_share_id_and_body_and_are_signed_anew() {
    let credential = Credential::new(&secret(KEY), None).unwrap();
    let cases: Vec<Case> = samples().into_iter().map(|(_, case)| case).collect();
    let events = shaped(&cases);
    let first = request::request(&config(), &credential, &events, at(1_795_245_180));
    let second = request::request(&config(), &credential, &events, at(1_795_245_999));
    assert_eq!(first.headers["webhook-id"], second.headers["webhook-id"]);
    assert_eq!(first.body, second.body);
    assert_ne!(first.headers["webhook-signature"], second.headers["webhook-signature"]);
    assert!(verifies(KEY, &second.headers, &second.body));
    let half = request::request(&config(), &credential, &events[..6], at(1_795_245_180));
    assert_ne!(first.headers["webhook-id"], half.headers["webhook-id"]);
    let id = first.headers["webhook-id"].to_str().unwrap();
    assert!(!id.contains('.') && id.len() == 38, "{id}");
}

/// One line per header, then the body: enough for another implementation to verify.
#[test]
fn request_is_the_golden_one() {
    let credential = Credential::new(&secret(KEY), Some(&secret(OLD_KEY))).unwrap();
    let cases: Vec<Case> = samples().into_iter().take(2).map(|(_, case)| case).collect();
    let request = request::request(&config(), &credential, &shaped(&cases), at(1_795_245_180));
    assert!(!request.compress);
    let mut text = format!("POST {}\n", request.url);
    let mut names: Vec<_> = request.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    for name in names {
        text.push_str(&format!("{name}: {}\n", request.headers[name].to_str().unwrap()));
    }
    text.push('\n');
    text.push_str(std::str::from_utf8(&request.body).unwrap());
    text.push('\n');
    golden::check("webhook/request.txt", &text);
}

#[test]
fn every_answer_has_its_verdict() {
    let verdict = |status: u16, events| {
        let (status, headers) = (StatusCode::from_u16(status).unwrap(), HeaderMap::new());
        // What the body says is nobody's contract, so it must not matter.
        match answer::outcome(&Answer { status, headers: &headers, body: b"{\"error\":\"x\"}" }, events) {
            Outcome::All(verdict) => verdict,
            Outcome::Each(_) => panic!("one verdict for all"),
        }
    };
    for (status, word) in [
        (200, "delivered"),
        (201, "delivered"),
        (202, "delivered"),
        (204, "delivered"),
        (301, "config"),
        (302, "config"),
        (307, "config"),
        (308, "config"),
        (400, "split"),
        (413, "split"),
        (422, "split"),
        (401, "auth"),
        (403, "auth"),
        (407, "auth"),
        (404, "config"),
        (405, "config"),
        (410, "config"),
        (415, "config"),
        (408, "retry"),
        (425, "retry"),
        (429, "retry"),
        (500, "retry"),
        (502, "retry"),
        (503, "retry"),
        (504, "retry"),
        (599, "retry"),
    ] {
        let found = match verdict(status, 2) {
            Verdict::Delivered => "delivered",
            Verdict::Retry { .. } => "retry",
            Verdict::Split { .. } => "split",
            Verdict::Drop { .. } => "drop",
            Verdict::Auth { .. } => "auth",
            Verdict::Config { field, .. } => {
                assert_eq!(field, "url");
                "config"
            }
        };
        assert_eq!(found, word, "{status}");
        if word == "split" {
            assert!(matches!(verdict(status, 1), Verdict::Drop { .. }), "{status} for one event");
        }
    }
}
