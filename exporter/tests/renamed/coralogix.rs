//! Coralogix: OTLP with its headers and resource attributes.

use exporter::address::Policy;
use exporter::destination::coralogix::{Config, Credential, Spec, answer, request, shape};
use proptest::prelude::*;
use serde_json::json;

use crate::golden;
use crate::otlp::{attributes, check, lines_of_hex, records, resource_logs};
use crate::reading::{judged, sample};
use crate::support::case;

fn config(json: &str) -> Config {
    Config::new(serde_json::from_str::<Spec>(json).unwrap(), Policy::STRICT).unwrap()
}

fn pool() -> Config {
    config(r#"{"domain":"eu2.coralogix.com","application":"prod"}"#)
}

fn credential() -> Credential {
    Credential::new(&"cxtp_key-of-test\n".into()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn server_reads_every_value_of_every_record(cases in proptest::collection::vec(case(), 1..4)) {
        let shaped: Vec<_> = cases.iter().map(|case| shape::shape(&case.routed())).collect();
        let request = request::request(&pool(), &credential(), &shaped);
        prop_assert_eq!(records(&request.body).len(), cases.len());
        for (case, record) in cases.iter().zip(&records(&request.body)) {
            check(case, record);
        }
    }
}

#[test]
fn application_is_the_pool_and_subsystem_the_component() {
    let shaped = [shape::shape(&sample().routed())];
    let of = |config: &Config| {
        attributes(&resource_logs(&request::request(config, &credential(), &shaped).body).resource.unwrap().attributes)
    };
    let resource = of(&pool());
    assert_eq!(resource["cx.application.name"], json!("prod"));
    assert_eq!(resource["cx.subsystem.name"], json!("armor"));
    assert_eq!(resource["service.name"], json!("armor"));
    let other = of(&config(r#"{"domain":"coralogix.us","application":"mcp","subsystem":"audit"}"#));
    assert_eq!((&other["cx.application.name"], &other["cx.subsystem.name"]), (&json!("mcp"), &json!("audit")));
}

#[test]
fn request_is_the_golden_one() {
    let request = request::request(&pool(), &credential(), &[shape::shape(&sample().routed())]);
    assert_eq!(request.url.as_str(), "https://ingress.eu2.coralogix.com/v1/logs");
    assert_eq!(request.headers["authorization"], "Bearer cxtp_key-of-test");
    assert!(request.compress && request.headers["authorization"].is_sensitive());
    golden::check("coralogix/request.hex", &lines_of_hex(&request.body));
}

#[test]
fn answers_are_those_of_otlp() {
    assert_eq!(judged(answer::outcome, 200, b"", 2), "delivered");
    assert_eq!(judged(answer::outcome, 401, b"", 2), "auth http-401");
    assert_eq!(judged(answer::outcome, 503, b"", 2), "retry http-503 after 7");
    assert_eq!(judged(answer::outcome, 500, b"", 2), "split http-500");
}
