//! Templates and tables have exactly the fields that are sent, and types that hold their values.

use std::collections::BTreeSet;

use events::EventName;
use exporter::mapping::Platform;
use serde_json::{Value, json};

use crate::generated::source::{ALERTS, Draw, PANELS};
use crate::generated::{elastic, files, sentinel};
use crate::sent;

/// Values of the key `event` that are designed and that no component emits yet. The test below takes each off this list
/// as soon as the schema has it.
const LATER: &[&str] = &["secret_detected"];

fn file(path: &str) -> Value {
    let (_, text) = files().into_iter().find(|(found, _)| found == path).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Whether a column or field of this type takes the value.
fn holds(kind: &str, value: &Value) -> bool {
    match kind {
        "ip" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
        "date" | "datetime" => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        "int" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "long" => value.is_i64() || value.is_u64(),
        "double" | "real" => value.is_number(),
        "string" | "keyword" | "text" => {
            value.is_string() || value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
        }
        other => panic!("no such type {other}"),
    }
}

#[test]
fn index_template_has_every_field_that_is_sent_and_no_other_and_holds_its_value() {
    // The texts that `everything` gives to keys are not of the type of the key, so types are compared with the samples'.
    let (fields, sent) = (elastic::fields(), sent::elastic());
    assert_eq!(fields.keys().collect::<BTreeSet<_>>(), sent.keys().collect::<BTreeSet<_>>());
    for name in ["elasticsearch", "opensearch"] {
        let template = file(&format!("elastic/{name}/index-template.json"));
        assert_eq!(template["index_patterns"], json!([elastic::PATTERN]));
        for (path, kind) in &fields {
            let pointer = format!("/template/mappings/properties/{}", path.replace('.', "/properties/"));
            assert_eq!(template.pointer(&pointer).unwrap()["type"], *kind, "{path}");
        }
    }
    for (path, value) in sent::typed(sent::Of::Elastic) {
        assert!(holds(fields[&path], &value), "{path}: {} can not hold {value}", fields[&path]);
    }
}

#[test]
fn data_collection_rule_declares_every_column_that_is_sent_and_no_other_and_holds_its_value() {
    let columns = sentinel::columns();
    let top = |name: &String| name.split('.').next().unwrap().to_owned();
    let sent: BTreeSet<String> = sent::sentinel().keys().map(top).collect();
    assert_eq!(columns.keys().cloned().collect::<BTreeSet<_>>(), sent);

    let template = file("sentinel/azuredeploy.json");
    let table = &template["resources"][0]["properties"]["schema"];
    let rule = &template["resources"][1]["properties"];
    assert_eq!(table["name"], sentinel::TABLE);
    let declared = &rule["streamDeclarations"][sentinel::STREAM]["columns"];
    assert_eq!(table["columns"], *declared);
    let declared: Vec<(&str, &str)> = declared
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["name"].as_str().unwrap(), column["type"].as_str().unwrap()))
        .collect();
    assert_eq!(declared, columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect::<Vec<_>>());
    assert_eq!(rule["dataFlows"][0]["streams"], json!([sentinel::STREAM]));

    for (path, value) in sent::typed(sent::Of::Sentinel) {
        match columns.get(&path) {
            Some(kind) => assert!(holds(kind, &value), "{path}: {kind} can not hold {value}"),
            None => assert!(path.starts_with("AdditionalFields."), "{path}"),
        }
    }
}

#[test]
fn alerts_and_panels_name_keys_and_values_of_the_schema() {
    let schema = events::schema::schema();
    let filters = ALERTS.iter().map(|alert| alert.filter).chain(PANELS.iter().map(|panel| panel.filter));
    for (key, values) in filters.flatten().copied().flatten() {
        sent::row(key);
        let property = schema["properties"][key].to_string();
        for value in *values {
            let known = property.contains(&format!("\"{value}\""));
            assert_eq!(known, !LATER.contains(value), "{key} {value}: is it in the schema, and on the list LATER?");
        }
    }
    let events: Vec<&str> = EventName::ALL.iter().map(|event| event.as_str()).collect();
    assert!(LATER.iter().all(|later| !events.contains(later)));
    let named = ALERTS.iter().flat_map(|alert| alert.subject.keys().iter().chain(alert.details));
    let drawn = PANELS.iter().flat_map(|panel| match panel.draw {
        Draw::OverTime(key) => vec![key],
        Draw::Top(keys) => keys.to_vec(),
        Draw::Principals => vec![],
        Draw::Percentile(of, keys) => [&[of], keys].concat(),
    });
    for key in named.copied().chain(drawn) {
        sent::row(key);
    }
    let ids: BTreeSet<&str> = ALERTS.iter().flat_map(|alert| alert.uuids).collect();
    assert_eq!(ids.len(), 2 * ALERTS.len(), "each rule has an id of its own");
}

#[test]
fn every_identifier_of_a_principal_is_copied_to_where_searches_of_elastic_look() {
    let template = file("elastic/elasticsearch/index-template.json");
    let properties = &template["template"]["mappings"]["properties"];
    for key in ["user.id", "user.email", "user.id_hash", "user.email_hash"] {
        let path = crate::generated::names::name(Platform::Ecs, key).replace('.', "/properties/");
        assert_eq!(properties.pointer(&format!("/{path}")).unwrap()["copy_to"], elastic::PRINCIPALS, "{key}");
    }
    assert_eq!(properties["related"]["properties"]["user"]["type"], "keyword");
}

/// The page says which events and keys are evidence. Its last section names what is not there yet.
#[test]
fn compliance_page_names_events_and_keys_of_the_schema() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compliance.md")).unwrap();
    let (page, _) = page.split_once("\n## Not yet\n").unwrap();
    let schema = events::schema::schema().to_string();
    let mut named = BTreeSet::new();
    for word in page.split('`').skip(1).step_by(2) {
        let key = word.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_'));
        // The fields of a SiemExport that the page points at, and what its status says.
        if key && !word.starts_with("spec.") && word != "assurance" {
            assert!(schema.contains(&format!("\"{word}\"")), "{word}");
            named.insert(word);
        }
    }
    assert!(EventName::ALL.iter().all(|event| named.contains(event.as_str())), "{named:?}");
}

/// `make check` compares each generated file with the one in the repository; this is the other direction.
#[test]
fn no_file_is_left_of_content_that_is_gone() {
    fn walk(folder: &std::path::Path, into: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, into) } else { into.push(path) }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../content");
    let mut found = vec![];
    for platform in ["splunk", "elastic", "datadog", "sentinel"] {
        walk(&root.join(platform), &mut found);
    }
    let found: BTreeSet<String> =
        found.iter().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(found, files().into_iter().map(|(path, _)| path).collect::<BTreeSet<_>>());
}
