//! Arguments, results and `_meta` arrive equal to the byte.

use std::sync::Arc;

use ::http::Method;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;

use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, Double, Seen, json_text};
use crate::harness::http;
use crate::harness::mcp::{Legacy, Modern};

const CASES: usize = 200;

/// Any JSON text: odd numbers, odd spaces, odd escapes, keys in any order, twice, and with names that matter.
fn any_json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("1e400".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        Just("-0.0".to_owned()),
        Just("1.50".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?".prop_map(|s| s),
    ];
    let string = prop_oneof![
        ".{0,20}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        Just(r#""Ünï \u00e9\ud83d\ude00 \/ \u0000""#.to_owned()),
        Just("\"\u{2028}\u{1F600}\"".to_owned()),
    ];
    let leaf = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), number, string];
    let key = prop_oneof![
        ".{0,8}",
        Just("name".to_owned()),
        Just("_meta".to_owned()),
        Just("isError".to_owned()),
        Just("result".to_owned()),
        Just("id".to_owned())
    ]
    .prop_map(|k| serde_json::to_string(&k).unwrap());
    let space = prop_oneof![Just(""), Just(" "), Just("\t "), Just("  ")];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..5), space.clone())
                .prop_map(|(list, s)| format!("[{s}{}{s}]", list.join(&format!("{s},{s}")))),
            (prop::collection::vec((key.clone(), inner), 0..5), space.clone()).prop_map(|(pairs, s)| {
                let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}{s}:{s}{v}")).collect();
                format!("{{{s}{}{s}}}", pairs.join(&format!("{s},{s}")))
            }),
        ]
    })
}

/// An object with at least its braces.
fn any_object() -> impl Strategy<Value = String> {
    any_json().prop_map(|text| format!(r#"{{"value" : {text}}}"#))
}

/// A piece of a message, as raw text.
fn piece(message: &[u8], path: &[&str]) -> String {
    let mut raw: Box<RawValue> = serde_json::from_slice(message).unwrap();
    for key in path {
        let mut map: std::collections::HashMap<String, Box<RawValue>> = serde_json::from_str(raw.get()).unwrap();
        raw = map.remove(*key).unwrap_or_else(|| panic!("no {key}"));
    }
    raw.get().to_owned()
}

/// Answers a call with the result that its `_meta` carries, as JSON or as an event.
async fn repeats() -> Double {
    let eras = &["2025-11-25", "2026-07-28"];
    double::of_eras(eras, &["t"], |request: Seen| async move {
        let result = piece(&request.body, &["params", "_meta", "wanted"]);
        let id = piece(&request.body, &["id"]);
        let message = format!(r#"{{ "unknown" :1.0,"result":{result},"id" : {id}, "jsonrpc":"2.0"}}"#);
        match request.header("x-no").is_none() && request.body.len().is_multiple_of(2) {
            true => json_text(message),
            false => double::text(200, "text/event-stream", format!("id: 1\nevent: message\ndata: {message}\n\n")),
        }
    })
    .await
}

#[tokio::test]
async fn arguments_results_and_meta_arrive_equal_to_the_byte() {
    let server = Arc::new(repeats().await);
    let prefixed = Armor::start(&Config::new().server("s", &server.url)).await;
    let plain = Armor::start(&Config::new().server_with("s", &server.url, serde_json::json!({"prefix": ""}))).await;
    let sessions = [Legacy::connect(&prefixed.url).await, Legacy::connect(&plain.url).await];
    let mut runner = TestRunner::deterministic();
    let cases = (any_object(), any_object(), any_json(), any::<i64>());
    for case in 0..CASES {
        let (arguments, result, meta, number) = cases.new_tree(&mut runner).unwrap().current();
        let (name, session) = match case % 2 {
            0 => ("s__t", &sessions[0]),
            _ => ("t", &sessions[1]),
        };
        let modern = case % 4 < 2;
        let version = match modern {
            true => {
                r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"#
            }
            false => "",
        };
        let id = if case % 3 == 0 { number.to_string() } else { format!("\"i\\u0064-{case}\"") };
        let sent = format!(
            r#"{{"params": {{"x-unknown":{meta}, "arguments":{arguments},"_meta" : {{{version}"wanted":{result},"odd":{meta}}},"name":"{name}"}} ,"method":"tools/call","id":{id},"jsonrpc":"2.0"}}"#
        );
        let headers = if modern { Modern::headers("tools/call", Some(name)) } else { session.headers() };
        let reply = http::send(Method::POST, &session.url, &headers, sent.clone()).await.unwrap();
        assert_eq!(reply.status, 200, "{}\n{sent}", reply.text());

        let seen = server.seen.lock().unwrap().last().unwrap().clone();
        // All but the name, and the rest of the message too.
        let expected = sent.replacen(&format!(r#""name":"{name}"}} ,"#), r#""name":"t"} ,"#, 1);
        assert_eq!(String::from_utf8(seen.body.to_vec()).unwrap(), expected);
        let text = reply.text();
        let message = text.lines().find_map(|l| l.strip_prefix("data: ")).unwrap_or(&text);
        assert_eq!(piece(message.as_bytes(), &["result"]), result);
        assert_eq!(piece(message.as_bytes(), &["id"]), id);
        assert_eq!(piece(message.as_bytes(), &["unknown"]), "1.0");
    }
}
