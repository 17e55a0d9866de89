//! Lines to a source.

use exporter::address::Policy;
use exporter::answer::{Answer, Outcome, Verdict};
use exporter::destination::sumo_logic::{Config, Credential, Spec, answer, request, shape};
use exporter::destination::{Request, Routed, Shaped};
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::Value;

use crate::golden;
use crate::support::{Case, case, samples};

const URL: &str = "https://endpoint4.collection.sumologic.com/receiver/v1/http/ZaVnC4dhaV3-secret==";

fn credential() -> Credential {
    Credential::new(&SecretString::from(URL), Policy::STRICT).unwrap()
}

fn config() -> Config {
    let json = r#"{"sourceCategory":"prod/mcp","sourceName":"gateway","sourceHost":"prod","fields":{"team":"soc"}}"#;
    Config::new(serde_json::from_str::<Spec>(json).unwrap()).unwrap()
}

fn sent(events: &[Shaped]) -> Request {
    request::request(&config(), &credential(), events)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn each_line_begins_with_the_time_and_is_the_event(cases in proptest::collection::vec(case(), 1..4)) {
        let shaped: Vec<_> = cases.iter().map(|case| shape::shape(&case.routed())).collect();
        let body = sent(&shaped).body;
        let text = std::str::from_utf8(&body).unwrap();
        prop_assert!(text.ends_with('\n'));
        let mut lines = 0;
        for (line, case) in text.lines().zip(&cases) {
            prop_assert!(line.starts_with("{\"time\":\""), "{line}");
            let mut read: Value = serde_json::from_str(line).unwrap();
            let time = read.as_object_mut().unwrap().remove("time").unwrap();
            prop_assert_eq!(&time, &read["timestamp"]);
            prop_assert_eq!(read, case.value());
            lines += 1;
        }
        prop_assert_eq!(lines, cases.len());
        prop_assert_eq!(text.lines().count(), cases.len());
    }
}

#[test]
fn an_override_names_the_category_and_groups_the_events() {
    let (_, case) = samples().remove(0);
    let category = |index| {
        let shaped = shape::shape(&Routed { index, ..case.routed() });
        let group = shaped.group.to_string();
        (group, sent(&[shaped]).headers["x-sumo-category"].to_str().unwrap().to_owned())
    };
    assert_eq!(category(None), (String::new(), "prod/mcp".to_owned()));
    assert_eq!(category(Some("pci")), ("pci".to_owned(), "pci".to_owned()));
    assert_eq!(category(Some("a\r\nX-Evil: b")), (String::new(), "prod/mcp".to_owned()));
}

#[test]
fn request_is_the_golden_one_and_its_url_is_in_no_debug_text() {
    let cases: Vec<Case> = samples().into_iter().take(2).map(|(_, case)| case).collect();
    let shaped: Vec<_> = cases.iter().map(|case| shape::shape(&case.routed())).collect();
    let request = sent(&shaped);
    assert!(request.compress);
    assert_eq!(request.url.as_str(), URL);
    let mut text = String::new();
    let mut names: Vec<_> = request.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    for name in names {
        text.push_str(&format!("{name}: {}\n", request.headers[name].to_str().unwrap()));
    }
    text.push('\n');
    text.push_str(std::str::from_utf8(&request.body).unwrap());
    golden::check("sumo_logic/request.txt", &text);
    for debug in [format!("{request:?}"), format!("{:?}", credential())] {
        assert!(!debug.contains("secret=="), "{debug}");
    }
    assert_eq!(credential().host(), Some("endpoint4.collection.sumologic.com"));
}

#[test]
fn url_that_can_not_be_used_is_refused_without_being_repeated() {
    for url in ["", "http://collector/secret", "https://user:secret@a/", "https://169.254.169.254/secret"] {
        let error = Credential::new(&SecretString::from(url), Policy::STRICT).unwrap_err();
        assert_eq!(error.field, "urlSecretRef");
        assert!(!error.to_string().contains("secret@") && !error.to_string().contains("/secret"), "{error}");
    }
}

#[test]
fn every_documented_answer_has_its_verdict() {
    let verdict = |status: u16, events| {
        let (status, headers) = (StatusCode::from_u16(status).unwrap(), HeaderMap::new());
        match answer::outcome(&Answer { status, headers: &headers, body: b"" }, events) {
            Outcome::All(verdict) => verdict,
            Outcome::Each(_) => panic!("one verdict for all"),
        }
    };
    assert_eq!(verdict(200, 5), Verdict::Delivered);
    assert!(matches!(verdict(401, 5), Verdict::Auth { .. }));
    assert!(matches!(verdict(408, 5), Verdict::Split { .. }));
    assert!(matches!(verdict(408, 1), Verdict::Retry { .. }));
    for status in [429, 500, 503, 504] {
        assert!(matches!(verdict(status, 5), Verdict::Retry { .. }), "{status}");
    }
    for status in [301, 404] {
        assert!(matches!(verdict(status, 5), Verdict::Config { field: "urlSecretRef", .. }), "{status}");
    }
    assert!(matches!(verdict(413, 5), Verdict::Split { .. }));
}
