//! OpenSearch with a data stream: what it keeps, what it refuses, and what it says of an event that is there already.

use std::process::Command;
use std::sync::Arc;

use exporter::mapping::Platform as Names;
use exporter::platform::Platform;
use exporter::tls;
use serde_json::{Value, json};

use crate::events_of_test::{cases, id, ids};
use crate::reading::{at, compare, oversized};
use crate::running::{Process, destination, free_port, installed, owner, send, words};

/// A data stream of the name that destinations have by default.
const STREAM: &str = "logs-mcp.audit-default";

struct Node {
    #[expect(dead_code, reason = "it runs until it is dropped")]
    process: Process,
    url: String,
    client: reqwest::Client,
}

impl Node {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("receivers-{}-{}", std::process::id(), free_port());
        // The runner takes the first free port after this one; it knows none above 9299.
        let base = 9_200 + free_port() % 90;
        let mut command = Command::new("java");
        command
            .args(["-Xms256m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"])
            .arg(installed("opensearch").join("*"))
            .args(["org.codelibs.opensearch.runner.OpenSearchRunner", "-numOfNode", "1", "-clusterName", &name])
            .args(["-baseHttpPort", &base.to_string(), "-basePath"])
            .arg(folder.path().join("node"));
        let mut process = Process::start(folder, &mut command);
        let client = owner();
        let url = process
            .until("the node answers", async |process| {
                let port = process
                    .text("out")
                    .split("publish_address {127.0.0.1:")
                    .find_map(|part| part.split_once('}')?.0.parse::<u16>().ok().filter(|port| *port < 9_300))?;
                let url = format!("http://127.0.0.1:{port}");
                let answer: Value = client.get(&url).send().await.ok()?.json().await.ok()?;
                (answer["cluster_name"] == json!(name)).then_some(url)
            })
            .await;
        let node = Self { process, url, client };
        node.create_template().await;
        node
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let url = format!("{}/{path}", self.url);
        let answer = self.client.request(method, url).json(&body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The one that users install.
    async fn create_template(&self) {
        let shipped = include_str!("../../../content/elastic/opensearch/index-template.json");
        let template = serde_json::from_str(shipped).unwrap();
        self.ask(reqwest::Method::PUT, "_index_template/mcp-audit", template).await;
    }

    /// Every document of the data stream, in the order of the events' ids.
    async fn documents(&self) -> Vec<Value> {
        self.ask(reqwest::Method::POST, &format!("{STREAM}/_refresh"), json!({})).await;
        let query = json!({
            "size": 5_000,
            "sort": [{"event.id": "asc"}],
            "fields": [
                {"field": "@timestamp", "format": "strict_date_time"}, "event.duration", "event.severity", "client.ip",
                "event.id",
            ],
        });
        let found = self.ask(reqwest::Method::POST, &format!("{STREAM}/_search"), query).await;
        found["hits"]["hits"].as_array().unwrap().clone()
    }

    fn destination(&self, data_stream: &str) -> Arc<dyn Platform> {
        let block = json!({"elasticsearch": {"url": self.url, "dataStream": data_stream}});
        // A node without the security plugin takes any credential.
        destination(block, &[("secretRef", "a2V5LW9mLXRlc3Q=")], tls::Settings::default())
    }
}

/// One node for all that is asked of it, because it takes most of the time to start.
#[tokio::test]
async fn open_search_keeps_each_event_once_with_its_values_and_refuses_no_more_than_the_one_that_does_not_fit() {
    let node = Node::start().await;
    let destination = node.destination(STREAM);
    let mut events = cases(150);
    events.push(oversized());
    assert_eq!(words(&send(&*destination, &events).await), ["delivered"]);

    // What may have been lost with its answer is sent again, and is there once.
    assert_eq!(words(&send(&*destination, &events).await), ["delivered"]);
    let documents = node.documents().await;
    assert_eq!(documents.len(), events.len());
    events.sort_by_key(id);
    for (case, hit) in events.iter().zip(&documents) {
        let document = &hit["_source"];
        assert_eq!(hit["_id"], json!(id(case)));
        // As the index has it, and not only as it was sent.
        let fields = &hit["fields"];
        assert_eq!(fields["event.id"], json!([id(case)]));
        assert_eq!(fields["@timestamp"], json!([case.value()["timestamp"]]));
        for path in ["event.duration", "event.severity", "client.ip"] {
            assert_eq!(fields.get(path).map(|list| list[0].clone()), at(document, path), "{path} of {}", id(case));
        }
        if case.canonical.len() < 30_000 {
            compare(case, Names::Ecs, |name| match name {
                Ok(path) => at(document, path),
                Err(own) => document["ai_gateway"].get(own).cloned(),
            });
        } else {
            assert!(document["ai_gateway"]["truncated"].as_array().unwrap().len() > 100);
        }
    }

    // One that the mapping refuses costs the others nothing, and neither does one that is there already.
    let more = cases(153);
    let [fits, refused, also_fits] = &more[more.len() - 3..] else { panic!("three of them are new") };
    let refused = refused.clone().with("policy_evaluated", "none");
    let batch = [fits.clone(), refused, also_fits.clone(), events[0].clone()];
    assert_eq!(
        words(&send(&*destination, &batch).await),
        ["delivered", "drop mapper_parsing_exception", "delivered", "delivered"]
    );
    let stored: std::collections::BTreeSet<String> =
        node.documents().await.iter().map(|hit| hit["_id"].as_str().unwrap().to_owned()).collect();
    let mut expected = ids(&events);
    expected.extend([id(fits), id(also_fits)]);
    assert_eq!(stored, expected);

    // A data stream that is not there, where the owner allows none to be made by chance.
    let settings = json!({"persistent": {"action.auto_create_index": "false"}});
    node.ask(reqwest::Method::PUT, "_cluster/settings", settings).await;
    let lost = node.destination("logs-nobody.made-default");
    assert_eq!(words(&send(&*lost, &events[..2]).await), ["config index_not_found_exception dataStream"; 2]);
}
