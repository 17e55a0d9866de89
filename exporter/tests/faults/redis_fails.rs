//! A Redis that dies, fills up, is trimmed, forgets, or is another one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use events::{DroppedCause, EventName, Record};
use serde_json::json;
use testkit::redis_server::Server;

use crate::group::{arrives, drained, held, pending};
use crate::receiver::{Answer, Receiver};
use crate::support::{Exporter, add, event, eventually, hook, id, soc, stream};

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

async fn ok() -> Receiver {
    Receiver::start(|_, _| Answer::status(200)).await
}

#[tokio::test]
async fn redis_that_is_killed_under_load_keeps_groups_and_nothing_that_it_kept_is_lost() {
    let mut redis = Server::running(&DURABLE);
    let (one, two) = (ok().await, ok().await);
    let destinations = json!([hook("one", &one.url), hook("two", &two.url)]);
    let exporter = Exporter::start(&redis, "a", soc(destinations)).await;
    drained(&exporter, &["soc/one", "soc/two"], 0).await;
    for round in 0..4u64 {
        let before = one.requests();
        add(&redis, round * 1_000..(round + 1) * 1_000);
        one.requests_reach(before + 2).await;
        redis.kill();
        redis.start();
    }
    let kept = held(&redis);
    arrives(&one, &kept).await;
    arrives(&two, &kept).await;
    drained(&exporter, &["soc/one", "soc/two"], 0).await;

    // What everybody has is trimmed: that is no loss, although Redis 7.0 forgot how much was read.
    redis.command::<u64>(&["XTRIM", &stream(), "MAXLEN", "=", "10"]);
    let last = add(&redis, 4_000..4_010);
    arrives(&one, &last).await;
    arrives(&two, &last).await;
    drained(&exporter, &["soc/one", "soc/two"], 0).await;
}

#[tokio::test]
async fn trimmed_stream_is_counted_exactly_and_told_to_the_others() {
    const ADDED: u64 = 6_000;
    const LEFT: u64 = 100;
    let redis = Server::running(&["--stream-node-max-entries", "1"]);
    let up = ok().await;
    let down = Receiver::start(|_, _| Answer::status(503)).await;
    let destinations = json!([hook("up", &up.url), hook("down", &down.url)]);
    let exporter = Exporter::start(&redis, "a", soc(destinations)).await;
    drained(&exporter, &["soc/up", "soc/down"], 0).await;
    let ids = add(&redis, 0..ADDED);
    arrives(&up, &ids).await;
    exporter.becomes("soc/down", "state", json!("Retrying")).await;
    eventually("as much is held as there is memory for", async || pending(&redis, "soc/down", "a") > 1_000).await;
    // At once, so that nothing is read in between.
    let script = "for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
          if group[2] == ARGV[1] then
            redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', ARGV[2])
            return redis.call('XINFO', 'STREAM', KEYS[1])[12] - ARGV[2] - group[10]
          end
        end";
    let lost: u64 = redis.command(&["EVAL", script, "1", &stream(), "soc/down", &LEFT.to_string()]);
    assert!(lost > 0, "the destination has read everything");

    // While it is down.
    exporter.becomes("soc/down", "lost", json!(lost)).await;
    let metric = format!("exporter_events_dropped_total{{destination=\"soc/down\",cause=\"trimmed\"}} {lost}\n");
    let metrics = exporter.get("metrics").await;
    assert!(metrics.contains(&metric), "{metric} is not in\n{metrics}");
    let told = |receiver: &Receiver| -> Vec<Record> {
        let bodies =
            receiver.bodies().into_iter().map(|body| serde_json::from_str::<serde_json::Value>(&body).unwrap());
        let data = bodies.flat_map(|body| body["data"].as_array().unwrap().clone());
        let records = data.map(|event| Record::from_json(event.to_string().as_bytes()).unwrap());
        records.filter(|record| record.event == EventName::EventsDropped).collect()
    };
    eventually("the others are told", async || !told(&up).is_empty()).await;
    down.answer_with(|_, _| Answer::status(200));
    exporter.becomes("soc/down", "backlog", json!(0)).await;
    let arrived = &down.accepted_ids() & &ids;
    assert_eq!(ids.len() - arrived.len(), lost as usize, "what did not arrive is what was counted");
    let last: BTreeSet<String> = (ADDED - LEFT..ADDED).map(id).collect();
    assert!(arrived.is_superset(&last), "what the stream still held arrived");

    let told = told(&up);
    let [loss] = &told[..] else { panic!("{} losses were told", told.len()) };
    assert_eq!((loss.dropped_count, loss.dropped_cause), (Some(lost), Some(DroppedCause::Trimmed)));
    assert_eq!(loss.destination_name.as_ref().unwrap().as_str(), "soc/down");
    let told = exporter.destination("soc/down").await;
    assert_eq!((&told["lost"], &told["possiblyLost"], &told["dropped"]), (&json!(lost), &json!(0), &json!(0)));
    assert_eq!(exporter.destination("soc/up").await["lost"], json!(0));
}

#[tokio::test]
async fn full_redis_is_read_and_acknowledged_and_the_operator_is_asked_to_send_again() {
    let redis = Server::running(&["--maxmemory-policy", "noeviction"]);
    let receiver = Receiver::start(|_, _| Answer::status(503)).await;
    let exporter = Exporter::start(&redis, "a", soc(json!([hook("one", &receiver.url)]))).await;
    drained(&exporter, &["soc/one"], 0).await;
    let ids = add(&redis, 0..1_000);
    exporter.becomes("soc/one", "state", json!("Retrying")).await;
    redis.command::<String>(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = redis::cmd("SET").arg(&["a", "b"]).query::<String>(&mut redis.connect()).unwrap_err();
    assert_eq!(refused.code(), Some("OOM"));
    let operator = json!([event(5_001), event(5_002)]);
    assert_eq!(exporter.post("v1/events", &operator).await.0, 503);

    let poison = id(17);
    receiver.answer_with(move |_, ids| Answer::status(if ids.contains(&poison) { 400 } else { 200 }));
    eventually("all but one are taken", async || receiver.accepted_ids().len() == 999).await;
    let told = exporter.becomes("soc/one", "backlog", json!(0)).await;
    assert_eq!((&told["lost"], &told["possiblyLost"], &told["dead"]), (&json!(0), &json!(0), &json!(1)));
    assert_eq!(&ids - &receiver.accepted_ids(), BTreeSet::from([id(17)]));
    assert_eq!(exporter.post("v1/events", &operator).await.0, 503);

    redis.command::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(exporter.post("v1/events", &operator).await, (200, json!({"added": 2})));
    assert_eq!(exporter.post("v1/events", &operator).await, (200, json!({"added": 0})));
    arrives(&receiver, &BTreeSet::from([id(5_001), id(5_002)])).await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test]
async fn redis_that_is_restored_from_an_older_file_is_read_on_and_counts_go_on() {
    let mut redis = Server::running(&DURABLE);
    let receiver = ok().await;
    let exporter = Exporter::start(&redis, "a", soc(json!([hook("one", &receiver.url)]))).await;
    drained(&exporter, &["soc/one"], 0).await;
    let mut ids = add(&redis, 0..500);
    arrives(&receiver, &ids).await;
    drained(&exporter, &["soc/one"], 0).await;
    receiver.answer_with(|_, _| Answer::status(503));
    ids.extend(add(&redis, 500..700));
    eventually("200 are on their way", async || pending(&redis, "soc/one", "a") == 200).await;
    let (files, old) = (redis.folder().join("appendonlydir"), redis.folder().join("old"));
    copy(&files, &old);

    // They are acknowledged, and more comes, of which some is on its way.
    receiver.answer_with(|_, _| Answer::status(200));
    arrives(&receiver, &ids).await;
    let later = add(&redis, 700..1_000);
    arrives(&receiver, &later).await;
    exporter.becomes("soc/one", "delivered", json!(1_000)).await;
    receiver.answer_with(|_, _| Answer::status(503));
    add(&redis, 1_000..1_100);
    eventually("100 are on their way", async || pending(&redis, "soc/one", "a") == 100).await;

    redis.kill();
    fs::remove_dir_all(&files).unwrap();
    copy(&old, &files);
    redis.start();
    assert_eq!(held(&redis), ids, "Redis is as it was");
    let told = exporter.destination("soc/one").await;
    assert!(told["backlog"].as_u64().is_none_or(|backlog| backlog <= 700), "{told}");
    receiver.answer_with(|_, _| Answer::status(200));
    ids.extend(add(&redis, 2_000..2_100));
    arrives(&receiver, &ids).await;
    // What was acknowledged after the copy is pending again, with a consumer that has forgotten it.
    drained(&exporter, &["soc/one"], 0).await;
    exporter.becomes("soc/one", "delivered", json!(800)).await;
}

#[tokio::test]
async fn lagging_replica_that_is_promoted_is_read_on() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut first = Server::running(&["--port", &port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"]);
    let second = Server::running(&[]);
    second.command::<String>(&["REPLICAOF", "127.0.0.1", &port]);
    let receiver = ok().await;
    let exporter = Exporter::start(&first, "a", soc(json!([hook("one", &receiver.url)]))).await;
    drained(&exporter, &["soc/one"], 0).await;
    let mut ids = add(&first, 0..500);
    arrives(&receiver, &ids).await;
    drained(&exporter, &["soc/one"], 0).await;
    receiver.answer_with(|_, _| Answer::status(503));
    ids.extend(add(&first, 500..600));
    eventually("100 are on their way", async || {
        pending(&first, "soc/one", "a") == 100 && held(&second) == ids && pending(&second, "soc/one", "a") == 100
    })
    .await;
    second.command::<String>(&["REPLICAOF", "NO", "ONE"]);

    // What the first one takes from now on, and what is acknowledged there, the second one does not know.
    receiver.answer_with(|_, _| Answer::status(200));
    arrives(&receiver, &ids).await;
    let unknown = add(&first, 600..700);
    arrives(&receiver, &unknown).await;
    first.kill();
    exporter.secret("redis-url", &second.url());
    ids.extend(add(&second, 700..800));
    arrives(&receiver, &ids).await;
    drained(&exporter, &["soc/one"], 0).await;
    assert_eq!(held(&second), ids);
    second.command::<u64>(&["XTRIM", &stream(), "MAXLEN", "=", "0"]);
    let last = add(&second, 800..810);
    arrives(&receiver, &last).await;
    drained(&exporter, &["soc/one"], 0).await;
}

#[tokio::test]
async fn group_that_somebody_destroys_begins_again_at_what_is_left() {
    let redis = Server::running(&[]);
    let (one, two) = (ok().await, ok().await);
    let mut destinations = [hook("one", &one.url), hook("two", &two.url)];
    destinations[1]["delivery"]["timeout"] = json!("60s");
    let exporter = Exporter::start(&redis, "a", soc(json!(destinations))).await;
    drained(&exporter, &["soc/one", "soc/two"], 0).await;
    let mut ids = add(&redis, 0..100);
    arrives(&one, &ids).await;
    drained(&exporter, &["soc/one", "soc/two"], 0).await;
    one.answer_with(|_, _| Answer::status(503));
    ids.extend(add(&redis, 100..300));
    eventually("200 are on their way", async || pending(&redis, "soc/one", "a") == 200).await;
    assert_eq!(redis.command::<u64>(&["XGROUP", "DESTROY", &stream(), "soc/one"]), 1);
    one.answer_with(|_, _| Answer::status(200));
    ids.extend(add(&redis, 300..400));
    arrives(&one, &ids).await;
    arrives(&two, &ids).await;
    drained(&exporter, &["soc/one", "soc/two"], 0).await;
    assert!(exporter.log().contains("Again"), "{}", exporter.log());
    assert_eq!(two.events().len(), 400, "the others get nothing twice");
    // The 100 from before, and each entry once.
    exporter.becomes("soc/one", "delivered", json!(500)).await;
}
