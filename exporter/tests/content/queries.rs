//! Every field in the text of every file is one that is sent: read from the files as a platform would, not from the
//! list that they are made of.

use std::collections::BTreeSet;

use crate::generated::{datadog, elastic, files};
use crate::sent;

fn of(folder: &str) -> Vec<(String, String)> {
    let found: Vec<_> = files().into_iter().filter(|(path, _)| path.starts_with(folder)).collect();
    assert!(!found.is_empty());
    found
}

/// Words of letters, digits, underscores and dots, outside of quoted values, that begin with a letter.
fn words(text: &str) -> Vec<&str> {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@');
    text.split(|c| !inside(c))
        .map(|word| word.trim_matches('.'))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '@')))
        .collect()
}

/// Without what stands between these quotes.
fn unquoted(text: &str, quote: char) -> String {
    text.split(quote).step_by(2).collect::<Vec<_>>().join(" ")
}

/// Words of the Search Processing Language, and the fields that searches make.
const SPL: &[&str] = &[
    "ai_gateway",
    "AND",
    "AS",
    "BY",
    "OR",
    "avg",
    "before",
    "bin",
    "coalesce",
    "desc",
    "deviation",
    "eval",
    "events",
    "eventstats",
    "fillnull",
    "if",
    "latest",
    "limit",
    "mean",
    "milliseconds",
    "now",
    "null",
    "perc95",
    "relative_time",
    "sort",
    "span",
    "stats",
    "stdev",
    "subject",
    "sum",
    "timechart",
    "value",
    "values",
    "weight",
    "where",
];

#[test]
fn searches_of_splunk_use_fields_that_are_sent() {
    let sent = sent::splunk();
    let mut found = BTreeSet::new();
    for (path, text) in of("splunk/") {
        let text = text.replace("&gt;", ">").replace("&lt;", "<");
        let searches: Vec<&str> = text
            .lines()
            .filter_map(|line| {
                let line = line.trim();
                let query = line.strip_prefix("<query>").and_then(|rest| rest.strip_suffix("</query>"));
                let assigned = line.split_once(" = ").filter(|(key, _)| *key == "search" || key.starts_with("EVAL-"));
                query.or(assigned.map(|(_, search)| search))
            })
            .collect();
        for search in searches {
            // What is renamed, and the values that conditions name, are no fields.
            let mut previous = "";
            for word in words(&unquoted(search, '"')) {
                let value = search.contains(&format!("={word}")) && !sent.contains_key(word);
                if !value && previous != "AS" && !SPL.contains(&word) {
                    assert!(sent.contains_key(word), "{path}: {word} in {search}");
                    found.insert(word.to_owned());
                }
                previous = word;
            }
        }
    }
    for expected in ["signature", "user", "src", "ai_gateway.route_cause", "ai_gateway.repeat_count", "duration"] {
        assert!(found.contains(expected), "{expected} was not read: {found:?}");
    }
}

#[test]
fn searches_of_datadog_use_attributes_that_are_sent_or_that_the_pipeline_makes() {
    let mut sent = sent::datadog();
    sent.insert(datadog::PRINCIPAL.to_owned(), "of the pipeline".into());
    let mut found = BTreeSet::new();
    for (path, text) in of("datadog/") {
        for word in words(&text).into_iter().filter_map(|word| word.strip_prefix('@')).filter(|word| *word != "your") {
            let name = word.trim_end_matches(".name");
            assert!(sent.contains_key(word) || sent.contains_key(name), "{path}: {word}");
            found.insert(name.to_owned());
        }
    }
    for expected in ["evt", "ai_gateway.principal", "network.client.ip", "ai_gateway.action_reason", "duration"] {
        assert!(found.contains(expected), "{expected} was not read: {found:?}");
    }
    let pipeline: serde_json::Value = serde_json::from_str(&of("datadog/pipeline.json")[0].1).unwrap();
    for source in pipeline["processors"].as_array().unwrap().iter().flat_map(|p| p["sources"].as_array().unwrap()) {
        assert!(sent.contains_key(source.as_str().unwrap()), "{source}");
    }
}

#[test]
fn rules_and_dashboard_of_elastic_use_fields_that_are_sent_or_that_the_template_fills() {
    let mut sent = sent::elastic();
    sent.insert(elastic::PRINCIPALS.to_owned(), "of the template".into());
    let mut found = BTreeSet::new();
    for (path, text) in of("elastic/sigma/") {
        let mut part = "";
        for line in text.lines() {
            if !line.starts_with(' ') {
                part = line;
            }
            let field = match part {
                "detection:" if line.starts_with("        ") && !line.trim_start().starts_with("- ") => {
                    Some(line.trim().split(':').next().unwrap())
                }
                "fields:" => line.strip_prefix("    - "),
                "correlation:" if line.starts_with("        - ") => {
                    line.strip_prefix("        - ").filter(|name| name.contains('.'))
                }
                _ => None,
            };
            if let Some(field) = field {
                assert!(sent.contains_key(field), "{path}: {field}");
                found.insert(field.to_owned());
            }
        }
    }
    for (path, text) in of("elastic/dashboard.ndjson") {
        for line in text.lines() {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            let attributes = &object["attributes"];
            if let Some(state) = attributes["visState"].as_str() {
                let state: serde_json::Value = serde_json::from_str(state).unwrap();
                for field in state["aggs"].as_array().unwrap().iter().filter_map(|agg| agg["params"]["field"].as_str())
                {
                    assert!(sent.contains_key(field), "{path}: {field}");
                    found.insert(field.to_owned());
                }
                let source = attributes["kibanaSavedObjectMeta"]["searchSourceJSON"].as_str().unwrap();
                let source: serde_json::Value = serde_json::from_str(source).unwrap();
                for word in words(&unquoted(source["query"]["query"].as_str().unwrap(), '"')) {
                    assert!(["and", "or"].contains(&word) || sent.contains_key(word), "{path}: {word}");
                }
            }
        }
    }
    for expected in ["event.action", "event.reason", "related.user", "client.ip", "event.duration", "@timestamp"] {
        assert!(found.contains(expected), "{expected} was not read: {found:?}");
    }
}

#[test]
fn queries_of_sentinel_use_columns_that_are_sent() {
    let sent = sent::sentinel();
    let columns: BTreeSet<&str> = sent.keys().map(|path| path.split('.').next().unwrap()).collect();
    let mut found = BTreeSet::new();
    let rules = of("sentinel/rules/").into_iter().map(|(path, text)| {
        let query = text.split("query: |\n").nth(1).unwrap().split("entityMappings:").next().unwrap().to_owned();
        (path, query)
    });
    let workbook: serde_json::Value = serde_json::from_str(&of("sentinel/workbook.json")[0].1).unwrap();
    let panels: Vec<(String, String)> = workbook["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| Some((item["name"].to_string(), item["content"]["query"].as_str()?.to_owned())))
        .collect();
    assert_eq!(panels.len(), 5);
    for (path, query) in rules.chain(panels) {
        let plain = unquoted(&query, '"');
        let words = words(&plain);
        for word in &words {
            let made = plain.contains(&format!("{word} = "))
                || ["Subject1", "TimeRange", "AiGatewayAgentEvent_CL"].contains(word);
            // Columns begin with a capital, and words of the language do not.
            if word.starts_with(|c: char| c.is_ascii_uppercase()) && !made {
                assert!(columns.contains(word) || sent.contains_key(*word), "{path}: {word}");
                found.insert((*word).to_owned());
            }
        }
    }
    for expected in
        ["EventOriginalType", "ActorUserId", "AdditionalFields.route_cause", "AdditionalFields.duration_total_ms"]
    {
        assert!(found.contains(expected), "{expected} was not read: {found:?}");
    }
}
