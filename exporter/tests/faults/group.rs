//! What Redis says, and what a test waits for.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use testkit::redis_server::Server;

use crate::receiver::Receiver;
use crate::support::{Exporter, POOL, eventually, stream};

pub async fn arrives(receiver: &Receiver, ids: &BTreeSet<String>) {
    eventually("every event arrives", async || receiver.accepted_ids().is_superset(ids)).await;
}

/// Nothing waits for any of these destinations, and every loss is counted as `lost`.
pub async fn drained(exporter: &Exporter, ids: &[&str], lost: u64) {
    for id in ids {
        let told = exporter.becomes(id, "backlog", json!(0)).await;
        assert_eq!(
            (&told["lost"], &told["possiblyLost"], &told["dropped"]),
            (&json!(lost), &json!(0), &json!(0)),
            "{told}\n{}",
            exporter.log()
        );
    }
}

/// The ids of the events that the stream holds.
pub fn held(redis: &Server) -> BTreeSet<String> {
    let entries: Vec<(String, HashMap<String, String>)> = redis.command(&["XRANGE", &stream(), "-", "+"]);
    let id = |event: &str| {
        let event: Value = serde_json::from_str(event).unwrap();
        event["event_id"].as_str().unwrap().to_owned()
    };
    entries.iter().map(|(_, fields)| id(&fields["event"])).collect()
}

/// How many entries a consumer has read and not acknowledged.
pub fn pending(redis: &Server, group: &str, consumer: &str) -> u64 {
    let consumers: Vec<HashMap<String, redis::Value>> = redis.command(&["XINFO", "CONSUMERS", &stream(), group]);
    let text = |value: &redis::Value| redis::from_redis_value::<String>(value.clone()).unwrap();
    let found = consumers.iter().find(|one| text(&one["name"]) == consumer);
    found.map_or(0, |one| redis::from_redis_value(one["pending"].clone()).unwrap())
}

pub fn has_lease(redis: &Server, group: &str, consumer: &str) -> bool {
    let keys = exporter::stream::Keys::new(POOL);
    redis.command::<u64>(&["EXISTS", &keys.lease(group, consumer)]) == 1
}
