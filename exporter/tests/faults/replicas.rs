//! Replicas that die.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use exporter::stream::Keys;
use serde_json::json;
use testkit::redis_server::Server;

use crate::group::{arrives, drained};
use crate::receiver::{Answer, Receiver};
use crate::support::{Exporter, POOL, add, eventually, hook, soc, stream};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exporter_that_is_killed_every_five_seconds_while_events_keep_coming_loses_nothing() {
    const KILLS: u32 = 5;
    const EVERY: Duration = Duration::from_secs(5);
    let redis = Arc::new(Server::running(&[]));
    let (one, two) =
        (Receiver::start(|_, _| Answer::status(200)).await, Receiver::start(|_, _| Answer::status(200)).await);
    let exports = soc(json!([hook("one", &one.url), hook("two", &two.url)]));
    let mut exporter = Exporter::start(&redis, "a", exports).await;
    drained(&exporter, &["soc/one", "soc/two"], 0).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (stream, over) = (redis.clone(), is_over.clone());
    // A pace of some thousand a second, and not a way to wait for something.
    let producer = std::thread::spawn(move || {
        let mut ids = BTreeSet::new();
        for round in 0.. {
            if over.load(Ordering::Relaxed) {
                return ids;
            }
            ids.extend(add(&stream, round * 50..(round + 1) * 50));
            std::thread::sleep(Duration::from_millis(20));
        }
        ids
    });
    let mut kills = tokio::time::interval(EVERY);
    kills.tick().await;
    for _ in 0..KILLS {
        kills.tick().await;
        exporter.kill();
        exporter.run();
        exporter.ready().await;
    }
    is_over.store(true, Ordering::Relaxed);
    let ids = tokio::task::spawn_blocking(|| producer.join().unwrap()).await.unwrap();
    assert!(ids.len() > 5_000, "{} events are no load", ids.len());
    arrives(&one, &ids).await;
    arrives(&two, &ids).await;
    drained(&exporter, &["soc/one", "soc/two"], 0).await;
    assert_eq!((one.accepted_ids(), two.accepted_ids()), (ids.clone(), ids));
}

#[tokio::test]
async fn what_a_replica_said_of_a_destination_counts_no_longer_than_it_lives() {
    let redis = Server::running(&[]);
    let good = Receiver::start(|_, _| Answer::status(200)).await;
    let bad = Receiver::start(|_, _| Answer::status(401)).await;
    let a = Exporter::start(&redis, "a", soc(json!([hook("one", &good.url)]))).await;
    a.becomes("soc/one", "backlog", json!(0)).await;
    let mut ids = add(&redis, 0..10);
    a.becomes("soc/one", "state", json!("Delivering")).await;
    let mut b = Exporter::start(&redis, "b", soc(json!([hook("one", &bad.url)]))).await;
    // Until the second replica gets some.
    let mut number = 10;
    while a.destination("soc/one").await["state"] != "AuthRejected" {
        ids.extend(add(&redis, number..number + 10));
        number += 10;
        assert!(number < 100_000, "the second replica gets nothing\n{}", b.log());
    }
    b.becomes("soc/one", "state", json!("AuthRejected")).await;

    // As if it had been silent for half a minute. The first one has delivered all the time, so that it has no news.
    b.kill();
    assert_eq!(redis.command::<u64>(&["DEL", &Keys::new(POOL).lease("soc/one", "b")]), 1);
    a.becomes("soc/one", "state", json!("Delivering")).await;
    arrives(&good, &ids).await;
    // Replicas that have sent nothing themselves learn it from the one that lives.
    let c = Exporter::start(&redis, "c", soc(json!([hook("one", &good.url)]))).await;
    eventually("it is told again", async || {
        let author: Option<String> = redis.command(&["HGET", &Keys::new(POOL).state("soc/one"), "author"]);
        author.as_deref() == Some("a")
    })
    .await;
    c.becomes("soc/one", "state", json!("Delivering")).await;
}

#[tokio::test]
async fn what_a_process_said_of_a_destination_ends_with_it_also_where_the_next_has_its_name() {
    let redis = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(401)).await;
    let mut exporter = Exporter::start(&redis, "a", soc(json!([hook("one", &receiver.url)]))).await;
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    add(&redis, 0..10);
    exporter.becomes("soc/one", "state", json!("AuthRejected")).await;
    exporter.kill();
    // As if another replica had delivered them.
    let script = "for _, one in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100)) do
          redis.call('XACK', KEYS[1], ARGV[1], one[1])
        end";
    redis.command::<redis::Value>(&["EVAL", script, "1", &stream(), "soc/one"]);
    exporter.run();
    exporter.ready().await;
    // It answers before it has asked Redis.
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    let told = exporter.becomes("soc/one", "state", json!("Idle")).await;
    assert_eq!((&told["backlog"], &told["lastErrorCode"]), (&json!(0), &json!(null)));
}
