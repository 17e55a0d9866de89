//! Replicas that die.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use testkit::redis_server::Server;

use crate::group::{arrives, drained};
use crate::receiver::{Answer, Receiver};
use crate::support::{Exporter, add, hook, soc};

#[tokio::test]
async fn two_replicas_that_are_killed_again_and_again_lose_nothing() {
    let redis = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(200).after(Duration::from_millis(5))).await;
    let exports = soc(json!([hook("one", &receiver.url)]));
    let mut replicas =
        [Exporter::start(&redis, "a", exports.clone()).await, Exporter::start(&redis, "b", exports).await];
    for replica in &replicas {
        replica.becomes("soc/one", "backlog", json!(0)).await;
    }
    let mut ids = BTreeSet::new();
    for round in 0..8u64 {
        let before = receiver.requests();
        ids.extend(add(&redis, round * 1_000..(round + 1) * 1_000));
        receiver.requests_reach(before + 3).await;
        let victim = &mut replicas[usize::from(round % 2 == 1)];
        victim.kill();
        victim.run();
        victim.ready().await;
    }
    arrives(&receiver, &ids).await;
    drained(&replicas[0], &["soc/one"], 0).await;
    assert_eq!(receiver.accepted_ids(), ids);
    // Whoever sent an event twice: it is counted once.
    replicas[1].becomes("soc/one", "delivered", json!(8_000)).await;
}
