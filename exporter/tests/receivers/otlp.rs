//! An OpenTelemetry Collector: it decodes what we send with its own code, and writes it to a file as JSON.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use exporter::mapping::Platform as Names;
use exporter::platform::Platform;
use exporter::tls;
use serde_json::{Value, json};

use crate::events_of_test::{cases, id, ids};
use crate::reading::compare;
use crate::running::{Process, destination, free_port, installed, send, words};
use crate::support::Case;

struct Collector {
    process: Process,
    http: u16,
    grpc: u16,
}

impl Collector {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (http, grpc) = (free_port(), free_port());
        let conf = format!(
            r#"
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{http}"}}, grpc: {{endpoint: "127.0.0.1:{grpc}"}}}}}}}}
exporters: {{file: {{path: "{}", flush_interval: 20ms}}}}
service:
  pipelines: {{logs: {{receivers: [otlp], exporters: [file]}}}}
"#,
            folder.path().join("received").display()
        );
        std::fs::write(folder.path().join("conf.yaml"), conf).unwrap();
        let mut command = Command::new(installed("collector/collector"));
        command.arg("--config").arg(folder.path().join("conf.yaml"));
        let mut process = Process::start(folder, &mut command);
        process.listens(http, false).await;
        process.listens(grpc, false).await;
        Self { process, http, grpc }
    }

    /// How it is reached by each protocol.
    fn destinations(&self) -> [(&'static str, Arc<dyn Platform>); 2] {
        [("Http", otlp("Http", self.http, "")), ("Grpc", otlp("Grpc", self.grpc, ""))]
    }
}

fn otlp(protocol: &str, port: u16, path: &str) -> Arc<dyn Platform> {
    let block = json!({"otlp": {
        "url": format!("http://127.0.0.1:{port}{path}"), "protocol": protocol, "headers": {"x-scope-orgid": "soc"},
        "resourceAttributes": {"deployment.environment.name": "prod"},
    }});
    destination(block, &[], tls::Settings::default())
}

/// A value of OTLP's JSON; its 64-bit integers are strings.
fn value(any: &Value) -> Value {
    let (kind, value) = any.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "intValue" => json!(value.as_str().unwrap().parse::<i64>().unwrap()),
        "arrayValue" => value["values"].as_array().into_iter().flatten().map(self::value).collect(),
        // Go writes a whole double as if it were an integer.
        "doubleValue" => json!(value.as_f64().unwrap()),
        "stringValue" | "boolValue" => value.clone(),
        other => panic!("{other}"),
    }
}

fn attributes(list: &Value) -> BTreeMap<String, Value> {
    let list = list.as_array().unwrap();
    let map: BTreeMap<_, _> =
        list.iter().map(|pair| (pair["key"].as_str().unwrap().to_owned(), value(&pair["value"]))).collect();
    assert_eq!(map.len(), list.len(), "no attribute is there twice");
    map
}

/// Every record so far by the id of its event, with the attributes of its resource.
fn received(process: &Process) -> Vec<(Value, Value)> {
    let mut records = Vec::new();
    for resource in process.lines("received").iter().flat_map(|line| line["resourceLogs"].as_array().unwrap().clone()) {
        for scope in resource["scopeLogs"].as_array().unwrap() {
            assert_eq!(scope["scope"]["name"], "ai-gateway");
            let list = scope["logRecords"].as_array().unwrap();
            records.extend(list.iter().map(|record| (record.clone(), resource["resource"]["attributes"].clone())));
        }
    }
    records
}

fn check(case: &Case, record: &Value) {
    let attributes = attributes(&record["attributes"]);
    compare(case, Names::Otel, |name| match name {
        Ok(name) => attributes.get(name).cloned(),
        Err(own) => attributes.get(&format!("ai_gateway.{own}")).cloned(),
    });
    assert_eq!(record["timeUnixNano"], json!((case.record.timestamp.unix_ms() * 1_000_000).to_string()));
    assert_eq!(value(&record["body"]), case.value()["message"]);
    assert_eq!(record["eventName"], json!(format!("ai_gateway.{}", case.record.event.as_str())));
    if let Some(written) = record["traceId"].as_str().filter(|written| !written.is_empty()) {
        assert_eq!(json!(written), case.value()["trace.id"]);
    }
}

#[tokio::test]
async fn collector_decodes_every_value_of_every_record() {
    let mut collector = Collector::start().await;
    let mut before = 0;
    for (protocol, destination) in collector.destinations() {
        // A request holds the events of one component, as batches do.
        let mut groups: BTreeMap<String, Vec<Case>> = BTreeMap::new();
        for case in cases(150) {
            groups.entry(destination.shape(&case.routed()).group.into_owned()).or_default().push(case);
        }
        let all: Vec<Case> = groups.values().flatten().cloned().collect();
        for (component, cases) in &groups {
            assert_eq!(words(&send(&*destination, cases).await), ["delivered"], "{protocol} {component}");
        }
        let records = collector
            .process
            .until("every record is written", async |process| {
                let records = received(process);
                (records.len() >= before + all.len()).then_some(records)
            })
            .await
            .split_off(before);
        before += records.len();
        assert_eq!(records.len(), all.len(), "{protocol}");
        let by_id: BTreeMap<String, (Value, Value)> = records
            .into_iter()
            .map(|(record, resource)| {
                (attributes(&record["attributes"])["log.record.uid"].as_str().unwrap().to_owned(), (record, resource))
            })
            .collect();
        assert_eq!(by_id.keys().cloned().collect::<std::collections::BTreeSet<_>>(), ids(&all));
        for case in &all {
            let (record, resource) = &by_id[&id(case)];
            check(case, record);
            let resource = attributes(resource);
            assert_eq!(resource["service.name"], case.value()["component.name"]);
            assert_eq!(resource["service.namespace"], "ai-gateway");
            assert_eq!(resource["deployment.environment.name"], "prod");
        }
    }
}

#[tokio::test]
async fn url_that_is_not_that_of_logs_is_a_wrong_configuration() {
    let collector = Collector::start().await;
    let destination = otlp("Http", collector.http, "/v1/nothing");
    assert_eq!(words(&send(&*destination, &cases(0)[..2]).await), ["config http-404 url"]);
}
