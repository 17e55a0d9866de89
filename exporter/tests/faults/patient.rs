//! What takes half a minute by design: leases, probes, what counts as failing. At the same time, so that all of it takes
//! no longer.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::redis_server::Server;
use tokio::sync::watch;

use crate::group::{arrives, drained, has_lease, pending};
use crate::poison::row_of_poison_holds_a_destination_no_longer_than_until_the_next_probe;
use crate::receiver::{Answer, Receiver};
use crate::support::{Exporter, add, eventually, hook, soc, stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_probes_and_news_of_failures() {
    tokio::join!(
        replica_that_is_frozen_past_its_lease_sends_nothing_that_another_has_claimed(),
        news_are_told_once_by_two_replicas(),
        row_of_poison_holds_a_destination_no_longer_than_until_the_next_probe(),
    );
}

async fn replica_that_is_frozen_past_its_lease_sends_nothing_that_another_has_claimed() {
    let redis = Server::running(&[]);
    let (gate, open) = watch::channel(false);
    let to_a = Receiver::start(move |_, _| Answer::Once(open.clone(), 503)).await;
    let to_b = Receiver::start(|_, _| Answer::status(200)).await;
    let exports = |url: &str| {
        let mut destination = hook("one", url);
        destination["delivery"]["timeout"] = json!("60s");
        soc(json!([destination]))
    };
    let a = Exporter::start(&redis, "a", exports(&to_a.url)).await;
    a.becomes("soc/one", "backlog", json!(0)).await;
    let ids = add(&redis, 0..300);
    to_a.requests_reach(1).await;
    eventually("all are read", async || pending(&redis, "soc/one", "a") == 300).await;
    a.signal("STOP");
    let mut b = Exporter::start(&redis, "b", exports(&to_b.url)).await;
    arrives(&to_b, &ids).await;
    drained(&b, &["soc/one"], 0).await;
    assert!(!has_lease(&redis, "soc/one", "a"), "it was claimed from a living one");

    let before = to_a.requests();
    a.signal("CONT");
    eventually("it has a lease again", async || has_lease(&redis, "soc/one", "a")).await;
    // Now its old request is answered, and what comes next is its own.
    to_a.answer_with(|_, _| Answer::status(200));
    gate.send_replace(true);
    b.kill();
    let later = add(&redis, 300..400);
    arrives(&to_a, &later).await;
    drained(&a, &["soc/one"], 0).await;
    a.becomes("soc/one", "delivered", json!(400)).await;
    assert_eq!(to_a.accepted_ids(), later, "nothing that was claimed");
    assert!(to_a.requests() > before);
}

/// An `archive` gets what the exporters say of the others.
async fn news_are_told_once_by_two_replicas() {
    const ROOM: u64 = 2 << 20;
    let redis = Server::running(&[]);
    let (down, archive) =
        (Receiver::start(|_, _| Answer::status(503)).await, Receiver::start(|_, _| Answer::status(200)).await);
    // Fails once, and once again much later.
    let shaky = Receiver::start(|request, _| Answer::status(if request == 0 { 503 } else { 200 })).await;
    let events = ["backlog_at_risk", "destination_failing", "destination_recovered"];
    let mut destinations = [hook("siem", &down.url), hook("shaky", &shaky.url), hook("archive", &archive.url)];
    destinations[2]["events"] = json!(events);
    let exports = soc(Value::from(destinations.to_vec()));
    let start = async |instance: &str| {
        let exporter = Exporter::start(&redis, instance, json!([])).await;
        let mut document = exporter.document("r2", exports.clone());
        document["audit"]["streamMaxBytes"] = json!(ROOM);
        exporter.write_configuration(&document.to_string());
        exporter.runs("r2").await;
        exporter
    };
    let told = || -> Vec<(String, String)> {
        let bodies = archive.bodies().into_iter().map(|body| serde_json::from_str::<Value>(&body).unwrap());
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        // Each event once, however often it came.
        let events: BTreeMap<String, (String, String)> = bodies
            .flat_map(|body| body["data"].as_array().unwrap().clone())
            .map(|event| (text(&event, "event_id"), (text(&event, "event"), text(&event, "destination.name"))))
            .collect();
        events.into_values().collect()
    };
    let is_told = |event: &str, id: &str| told().iter().any(|(name, destination)| name == event && destination == id);

    let a = start("a").await;
    for name in ["siem", "shaky", "archive"] {
        a.becomes(&format!("soc/{name}"), "backlog", json!(0)).await;
    }
    let mut ids = add(&redis, 0..800);
    arrives(&shaky, &ids).await;
    eventually("the first has read them", async || pending(&redis, "soc/siem", "a") > 0).await;
    // The other one gets its part while the first one sleeps, for less than its lease.
    let b = start("b").await;
    a.signal("STOP");
    ids.extend(add(&redis, 800..1_600));
    eventually("the second has some too", async || pending(&redis, "soc/siem", "b") > 0).await;
    a.signal("CONT");
    let (used, held): (u64, u64) =
        (redis.command(&["MEMORY", "USAGE", &stream()]), redis.command(&["XLEN", &stream()]));
    assert!(used > ROOM * 7 / 10, "{used} bytes for {held} entries");
    eventually("the failure is told", async || is_told("destination_failing", "soc/siem")).await;
    eventually("the risk is told", async || is_told("backlog_at_risk", "soc/siem")).await;

    // Half a minute after its first failure, it fails once more.
    let next = shaky.requests();
    shaky.answer_with(move |request, _| Answer::status(if request == next { 503 } else { 200 }));
    let more = add(&redis, 1_600..1_610);
    arrives(&shaky, &more).await;
    ids.extend(more);
    down.answer_with(|_, _| Answer::status(200));
    arrives(&down, &ids).await;
    eventually("the recovery is told", async || is_told("destination_recovered", "soc/siem")).await;
    for exporter in [&a, &b] {
        drained(exporter, &["soc/siem", "soc/shaky", "soc/archive"], 0).await;
    }
    let mut told = told();
    told.sort();
    let siem = "soc/siem".to_owned();
    let once: Vec<(String, String)> = events.iter().map(|event| ((*event).to_owned(), siem.clone())).collect();
    assert_eq!(told, once, "{}\n{}", a.log(), b.log());
    assert_eq!(down.accepted_ids().intersection(&ids).count(), ids.len());
}
