//! RFC 5424 messages and CEF.

use exporter::address::Policy;
use exporter::destination::syslog::{Config, Spec, config, request, shape};
use exporter::destination::{Routed, Shaped};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Case, case, samples};
use crate::{cef, golden, rfc5424};

fn config(extra: Value) -> Config {
    let mut spec = json!({"host": "syslog.example.com"});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Config::new(serde_json::from_value::<Spec>(spec).unwrap(), Policy::STRICT).unwrap()
}

fn datagram(extra: Value) -> Config {
    let mut extra = extra;
    extra["transport"] = json!("Udp");
    config(extra)
}

fn joined(events: &[Shaped]) -> Vec<u8> {
    request::joined(events.iter().map(|event| &event.bytes)).to_vec()
}

/// Where CEF says a key.
fn cef_key(key: &str, value: &Value) -> String {
    let word = match key {
        "event_id" => "externalId",
        "timestamp" => "rt",
        "class" => "cat",
        "status" => "outcome",
        "action" => "act",
        "action.reason" => "reason",
        "user.email" => "suser",
        "user.id" => "suid",
        "client.user_agent" => "requestClientApplication",
        "mcp.server_name" => "destinationServiceName",
        "component.instance" => "dvchost",
        "request.bytes" => "in",
        "response.bytes" => "out",
        "repeat.count" => "cnt",
        "tool.name" => "cs1",
        "policy.name" => "cs2",
        "agent.name" => "cs3",
        "client.ip" => match value.as_str().unwrap().parse() {
            Ok(std::net::IpAddr::V4(_)) => "src",
            Ok(std::net::IpAddr::V6(_)) => "c6a2",
            Err(_) => "aigwClientIp",
        },
        _ => "",
    };
    if !word.is_empty() {
        return word.to_owned();
    }
    let words = key.split(['.', '_']).map(|word| word[..1].to_uppercase() + &word[1..]);
    format!("aigw{}", words.collect::<String>())
}

/// What must be true of a cut object: a subset, whose missing keys are named.
fn assert_subset(found: &Value, case: &Case, cut: bool) {
    let (found, whole) = (found.as_object().unwrap(), case.value());
    let whole = whole.as_object().unwrap();
    let named: Vec<&str> = found
        .get("truncated")
        .map_or(vec![], |list| list.as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect());
    for (key, value) in whole {
        if key == "truncated" {
            continue;
        }
        match found.get(key) {
            Some(same) => assert_eq!(same, value, "{key}"),
            None => {
                assert!(cut && (named.contains(&key.as_str()) || named == ["*"]), "{key} is neither there nor named")
            }
        }
    }
    assert!(found.keys().all(|key| whole.contains_key(key) || key == "truncated"));
    for key in ["event_id", "timestamp", "event", "severity", "status", "action", "action.reason"] {
        assert_eq!(found.get(key), whole.get(key), "{key} is never cut");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn json_message_parses_strictly_and_says_what_the_event_says(
        case in case(), bom in any::<bool>(), most in prop_oneof![Just(2_048usize), Just(8_000), 2_048usize..65_000],
        number in any::<Option<u32>>(),
    ) {
        let config = datagram(json!({"bom": bom, "maxBytes": most, "enterpriseNumber": number}));
        let shaped = shape::shape(&config, &case.routed());
        prop_assert!(shaped.bytes.len() <= most, "{} > {most}", shaped.bytes.len());
        let message = rfc5424::parse(&shaped.bytes).unwrap();
        prop_assert_eq!((message.facility, message.bom), (13, bom));
        prop_assert_eq!(message.timestamp, Some(case.record.timestamp.timestamp()));
        prop_assert_eq!(&message.msgid, case.record.event.as_str());
        assert_subset(&serde_json::from_str(&message.msg).unwrap(), &case, shaped.cut);
        if !shaped.cut {
            prop_assert_eq!(message.msg.as_bytes(), &case.canonical);
        }
        // What structured data says is what the event says.
        let value = case.value();
        prop_assert_eq!(message.data.len(), 1 + usize::from(number.is_some()));
        prop_assert_eq!(&message.data[0].0, "origin");
        for (id, params) in &message.data[1..] {
            prop_assert_eq!(id, &format!("aiGateway@{}", number.unwrap()));
            for (name, text) in params {
                prop_assert_eq!(value[name].as_str().unwrap(), text);
            }
            prop_assert!(params.iter().any(|(name, _)| name == "class"));
        }
    }

    #[test]
    fn cef_message_parses_strictly_and_says_what_the_event_says(
        case in case(), most in prop_oneof![Just(2_048usize), Just(8_000), 2_048usize..65_000],
    ) {
        let config = datagram(json!({"format": "Cef", "maxBytes": most}));
        let shaped = shape::shape(&config, &case.routed());
        prop_assert!(shaped.bytes.len() <= most, "{} > {most}", shaped.bytes.len());
        let message = rfc5424::parse(&shaped.bytes).unwrap();
        let cef = cef::parse(&message.msg).unwrap();
        let value = case.value();
        prop_assert_eq!(&cef.header[3], case.record.event.as_str());
        prop_assert_eq!(&cef.header[4], case.record.message.as_str());
        let find = |key: &str| cef.pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value.clone());
        let truncated = find("aigwTruncated").unwrap_or_default();
        let named: Vec<&str> = truncated.split(',').collect();
        for (key, expected) in value.as_object().unwrap() {
            if matches!(key.as_str(), "event" | "message" | "truncated") {
                continue;
            }
            let expected_text = match expected {
                _ if key == "timestamp" => case.record.timestamp.timestamp().as_millisecond().to_string(),
                Value::String(text) => text.clone(),
                // As the canonical JSON writes it: a list or a number.
                other => other.to_string(),
            };
            match find(&cef_key(key, expected)) {
                Some(found) if expected.is_number() => {
                    prop_assert_eq!(found.parse::<f64>().unwrap(), expected.as_f64().unwrap());
                }
                Some(found) => prop_assert_eq!(found, expected_text, "{}", key),
                None => prop_assert!(named.contains(&key.as_str()) || named == ["*"], "{key}"),
            }
        }
        prop_assert_eq!(shaped.cut, find("aigwTruncated").is_some_and(|text| {
            let before = value.get("truncated").map_or(0, |list| list.as_array().unwrap().len());
            text == "*" || text.split(',').count() > before
        }));
    }

    #[test]
    fn streams_split_into_the_messages_that_were_joined(cases in proptest::collection::vec(case(), 1..5)) {
        for format in ["Json", "Cef"] {
            let alone: Vec<Vec<u8>> = cases
                .iter()
                .map(|case| shape::shape(&datagram(json!({"format": format})), &case.routed()).bytes.to_vec())
                .collect();
            let framed = |framing: &str| {
                let config = config(json!({"format": format, "framing": framing}));
                joined(&cases.iter().map(|case| shape::shape(&config, &case.routed())).collect::<Vec<_>>())
            };
            let counted = framed("OctetCounting");
            let alone: Vec<&[u8]> = alone.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(&rfc5424::octet_counted(&counted).unwrap(), &alone);
            let lines = framed("NewLine");
            let lines: Vec<&[u8]> = lines.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
            prop_assert_eq!(lines, alone);
        }
    }
}

#[test]
fn canonical_json_with_line_feeds_between_its_tokens_is_one_line() {
    let (_, mut case) = samples().remove(0);
    case.canonical = serde_json::to_vec_pretty(&case.value()).unwrap();
    let shaped = shape::shape(&config(json!({"framing": "NewLine"})), &case.routed());
    let line = shaped.bytes.strip_suffix(b"\n").unwrap();
    let message = rfc5424::parse(line).unwrap();
    assert!(!message.msg.contains('\n'));
    assert_eq!(serde_json::from_str::<Value>(&message.msg).unwrap(), case.value());
}

#[test]
fn year_without_four_digits_is_the_nil_value() {
    let (_, mut case) = samples().remove(0);
    case.record.timestamp = events::Moment::new("-000100-01-01T00:00:00Z".parse().unwrap());
    let shaped = shape::shape(&datagram(json!({})), &case.routed());
    assert_eq!(rfc5424::parse(&shaped.bytes).unwrap().timestamp, None);
}

#[test]
fn level_is_the_severity_maps_or_the_one_of_the_same_name() {
    let pri = |case: &Case, level: Option<&str>, facility: u8| {
        let event = Routed { level, ..case.routed() };
        let shaped = shape::shape(&datagram(json!({"facility": facility})), &event);
        let message = rfc5424::parse(&shaped.bytes).unwrap();
        (message.facility, message.severity)
    };
    let (_, case) = samples().remove(0);
    for (severity, expected) in [
        (events::Severity::Critical, 2),
        (events::Severity::Error, 3),
        (events::Severity::Warn, 4),
        (events::Severity::Info, 6),
        (events::Severity::Debug, 7),
    ] {
        let mut case = case.clone();
        case.record.severity = severity;
        assert_eq!(pri(&case, None, 13), (13, expected));
        assert_eq!(pri(&case, Some("alert"), 23), (23, 1));
        assert_eq!(pri(&case, Some("no such level"), 0), (0, expected));
    }
    assert_eq!(config::level("notice"), Some(5));
    assert_eq!(config::level("high"), None);
}

#[test]
fn messages_of_the_samples_are_the_golden_ones() {
    let (json, cef) = (datagram(json!({"enterpriseNumber": 32473})), datagram(json!({"format": "Cef"})));
    for (name, case) in samples() {
        let text = |config| {
            let shaped = shape::shape(config, &case.routed());
            assert!(!shaped.cut, "{name} fits into 8,000 bytes");
            String::from_utf8(shaped.bytes.to_vec()).unwrap() + "\n"
        };
        golden::check(&format!("syslog/{name}.json.txt"), &text(&json));
        golden::check(&format!("syslog/{name}.cef.txt"), &text(&cef));
    }
}
