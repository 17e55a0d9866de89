//! Platforms that name the events that they will never take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use serde_json::{Value, json};
use testkit::redis_server::Server;

use crate::server::{Asked, serve};
use crate::support::{Exporter, add, eventually, id, soc};

/// Ids of accepted events, by the first part of the path.
type Accepted = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// What each platform answers; gives status, body, and which events it took.
fn judge(path: &str, ids: &[String], is_bad: &dyn Fn(&String) -> bool) -> (u16, Value, Vec<String>) {
    let bad: Vec<bool> = ids.iter().map(is_bad).collect();
    let good = || ids.iter().zip(&bad).filter(|(_, bad)| !**bad).map(|(id, _)| id.clone()).collect();
    let each = |taken: Value, refused: Value| -> Vec<Value> {
        bad.iter().map(|bad| if *bad { refused.clone() } else { taken.clone() }).collect()
    };
    if path.ends_with("/_bulk") {
        let refused = json!({"create": {"status": 400, "error": {"type": "document_parsing_exception"}}});
        let items = each(json!({"create": {"status": 201}}), refused);
        return (200, json!({"errors": true, "items": items}), good());
    }
    if path.starts_with("/services/collector") {
        // A HEC names the first that it does not take.
        return match bad.iter().position(|bad| *bad) {
            None => (200, json!({"text": "Success", "code": 0}), good()),
            Some(first) => {
                (400, json!({"text": "Invalid data format", "code": 6, "invalid-event-number": first}), Vec::new())
            }
        };
    }
    if path == "/" {
        let failed = bad.iter().filter(|bad| **bad).count();
        let entries = each(json!({"EventId": "1"}), json!({"ErrorCode": "MalformedDetail", "ErrorMessage": "m"}));
        return (200, json!({"FailedEntryCount": failed, "Entries": entries}), good());
    }
    if path == "/partial/v1/logs" {
        // Counts, and does not name.
        let failed = bad.iter().filter(|bad| **bad).count();
        return (200, json!({"partialSuccess": {"rejectedLogRecords": failed.to_string()}}), good());
    }
    // Refuses a request as a whole.
    match bad.contains(&true) {
        true => (400, json!({}), Vec::new()),
        false => (200, json!({}), good()),
    }
}

#[tokio::test]
async fn poison_is_found_in_what_each_platform_answers_and_costs_no_other_event() {
    const ADDED: u64 = 200;
    // More than make a mapping a wrong one, but none next to another.
    let many: BTreeSet<String> = (0..30).map(|number| id(number * 5 + 2)).collect();
    let few: BTreeSet<String> = [3, 77, 150].map(id).into();
    let accepted = Accepted::default();
    let (shared, for_many, for_few) = (accepted.clone(), many.clone(), few.clone());
    let url = serve(move |asked: Asked| {
        // They are split until they are alone: each takes some requests.
        let bad = if asked.path.starts_with("/services") || asked.path == "/whole" { &for_few } else { &for_many };
        let (status, body, taken) = judge(&asked.path, &asked.ids(), &|id| bad.contains(id));
        shared.lock().unwrap().entry(asked.path.clone()).or_default().extend(taken);
        async move { (status, body.to_string()) }.boxed()
    })
    .await;
    let delivery = json!({"batchEvents": 100, "flushInterval": "20ms", "maxRetryInterval": "1s", "timeout": "2s"});
    let destination = |name: &str, platform: Value, secrets: Value| json!({"name": name, "platform": platform, "secrets": secrets, "delivery": delivery});
    let destinations = json!([
        destination("elastic", json!({"elasticsearch": {"url": url}}), json!({"secretRef": "hook"})),
        destination("splunk", json!({"splunk": {"url": url}}), json!({"tokenSecretRef": "hook"})),
        destination(
            "bus",
            json!({"eventBridge": {"region": "eu-central-1", "endpoint": url}}),
            json!({"accessKeyIdSecretRef": "key-id", "secretAccessKeySecretRef": "key"})
        ),
        destination("otlp", json!({"otlp": {"url": format!("{url}/partial/v1/logs")}}), json!({})),
        destination("whole", json!({"webhook": {"url": format!("{url}/whole")}}), json!({"secretRef": "hook"})),
    ]);
    let redis = Server::running(&[]);
    let exporter = Exporter::start(&redis, "a", json!([])).await;
    exporter.secret("key-id", "AKIAIOSFODNN7EXAMPLE");
    exporter.secret("key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    exporter.configure("r2", soc(destinations));
    let all = ["elastic", "splunk", "bus", "otlp", "whole"];
    for name in all {
        exporter.becomes(&format!("soc/{name}"), "backlog", json!(0)).await;
    }
    let ids = add(&redis, 0..ADDED);
    for (name, path, poison) in [
        ("elastic", "/logs-mcp.audit-default/_bulk", &many),
        ("splunk", "/services/collector/event", &few),
        ("bus", "/", &many),
        ("otlp", "/partial/v1/logs", &many),
        ("whole", "/whole", &few),
    ] {
        let told = exporter.becomes(&format!("soc/{name}"), "backlog", json!(0)).await;
        let bad = poison.len() as u64;
        assert_eq!(
            (&told["dead"], &told["dropped"], &told["lost"]),
            (&json!(bad), &json!(bad), &json!(0)),
            "{name}: {told}\n{}",
            exporter.log()
        );
        let accepted = accepted.lock().unwrap();
        let events: BTreeSet<String> = accepted[path].iter().filter(|id| ids.contains(*id)).cloned().collect();
        assert_eq!(events, &ids - poison, "{name}");
    }
}

/// Twenty events that are refused one after the other look like a wrong mapping.
pub async fn row_of_poison_holds_a_destination_no_longer_than_until_the_next_probe() {
    const POISON: u64 = 25;
    let poison: BTreeSet<String> = (0..POISON).map(id).collect();
    let accepted = Accepted::default();
    let (shared, bad) = (accepted.clone(), poison.clone());
    let url = serve(move |asked: Asked| {
        let (status, body, taken) = judge(&asked.path, &asked.ids(), &|id| bad.contains(id));
        shared.lock().unwrap().entry(asked.path.clone()).or_default().extend(taken);
        async move { (status, body.to_string()) }.boxed()
    })
    .await;
    let redis = Server::running(&[]);
    let mut destination = crate::support::hook("one", &format!("{url}/whole"));
    destination["delivery"]["batchEvents"] = json!(POISON);
    let exporter = Exporter::start(&redis, "a", soc(json!([destination]))).await;
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    let ids = add(&redis, 0..100);
    let told = exporter.becomes("soc/one", "state", json!("Rejected")).await;
    assert_eq!((&told["field"], &told["delivered"]), (&json!("events"), &json!(0)), "{told}");
    eventually("the others are taken", async || {
        accepted.lock().unwrap().get("/whole").is_some_and(|taken| taken.len() >= 75)
    })
    .await;
    let told = exporter.becomes("soc/one", "backlog", json!(0)).await;
    assert_eq!((&told["dead"], &told["dropped"], &told["state"]), (&json!(25), &json!(25), &json!("Delivering")));
    let taken: BTreeSet<String> = accepted.lock().unwrap()["/whole"].iter().cloned().collect();
    assert_eq!(taken, &ids - &poison);
}
