//! What is told of losses when replicas and destinations go.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::{DroppedCause, EventName, Record};
use serde_json::{Value, json};
use testkit::redis_server::Server;

use crate::receiver::{Answer, Receiver};
use crate::support::{Exporter, add, eventually, hook, id, soc, stream};

const POISON: [u64; 3] = [7, 42, 99];

async fn picky() -> Receiver {
    let poison: BTreeSet<String> = POISON.map(id).into();
    Receiver::start(move |_, ids| Answer::status(if ids.iter().any(|id| poison.contains(id)) { 400 } else { 200 }))
        .await
}

/// One that gets what the exporters say of losses.
fn archive(url: &str) -> Value {
    let mut destination = hook("archive", url);
    destination["events"] = json!(["events_dropped"]);
    destination
}

/// What the stream has of losses.
fn told(redis: &Server) -> Vec<Record> {
    let entries: Vec<(String, HashMap<String, String>)> = redis.command(&["XRANGE", &stream(), "-", "+"]);
    let records = entries.iter().map(|(_, fields)| Record::from_json(fields["event"].as_bytes()).unwrap());
    records.filter(|record| record.event == EventName::EventsDropped).collect()
}

fn assert_told_once(redis: &Server) {
    let told = told(redis);
    let by_id: BTreeMap<_, _> = told.iter().map(|record| (record.event_id, record)).collect();
    assert_eq!(by_id.len(), told.len(), "the same event twice");
    assert_eq!(told.iter().filter_map(|record| record.dropped_count).sum::<u64>(), POISON.len() as u64, "{told:?}");
    for record in &told {
        assert_eq!(record.dropped_cause, Some(DroppedCause::Rejected));
        assert_eq!(record.destination_name.as_ref().unwrap().as_str(), "soc/picky");
    }
}

#[tokio::test]
async fn losses_of_a_replica_that_is_killed_are_told_once_by_those_that_come_after_it() {
    let redis = Server::running(&[]);
    let (receiver, archived) = (picky().await, Receiver::start(|_, _| Answer::status(200)).await);
    let exports = soc(json!([hook("picky", &receiver.url), archive(&archived.url)]));
    let mut a = Exporter::start(&redis, "a", exports.clone()).await;
    for name in ["soc/picky", "soc/archive"] {
        a.becomes(name, "backlog", json!(0)).await;
    }
    add(&redis, 0..120);
    a.becomes("soc/picky", "dropped", json!(3)).await;
    a.kill();
    let (b, c) = tokio::join!(Exporter::start(&redis, "b", exports.clone()), Exporter::start(&redis, "c", exports));
    for replica in [&b, &c] {
        eventually("it has looked", async || replica.get("metrics").await.contains("exporter_redis_up 1\n")).await;
    }
    eventually("it arrives", async || !archived.events().is_empty()).await;
    assert_told_once(&redis);
}

#[tokio::test]
async fn losses_of_a_destination_that_is_removed_are_told() {
    let redis = Server::running(&[]);
    let (receiver, archived) = (picky().await, Receiver::start(|_, _| Answer::status(200)).await);
    let exporter =
        Exporter::start(&redis, "a", soc(json!([hook("picky", &receiver.url), archive(&archived.url)]))).await;
    for name in ["soc/picky", "soc/archive"] {
        exporter.becomes(name, "backlog", json!(0)).await;
    }
    add(&redis, 0..120);
    exporter.becomes("soc/picky", "dropped", json!(3)).await;
    exporter.configure("r2", soc(json!([archive(&archived.url)])));
    exporter.runs("r2").await;
    eventually("it arrives", async || !archived.events().is_empty()).await;
    assert_told_once(&redis);
}

#[tokio::test]
async fn losses_are_told_before_a_replica_ends() {
    let redis = Server::running(&[]);
    let receiver = picky().await;
    let mut exporter = Exporter::start(&redis, "a", soc(json!([hook("picky", &receiver.url)]))).await;
    exporter.becomes("soc/picky", "backlog", json!(0)).await;
    add(&redis, 0..120);
    exporter.becomes("soc/picky", "dropped", json!(3)).await;
    assert!(exporter.terminate(), "{}", exporter.log());
    assert_told_once(&redis);
}
