//! Redis comes back with less than it had acknowledged: what Armor still holds is added again, and the rest
//! is counted, each event once.

use std::{collections::BTreeSet, net::TcpListener};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::watch,
};

use armor::audit::AuditMetrics;
use events::{DroppedCause, EventName, Record};

use testkit::redis_server::Server;

use crate::trail::{AMPLE, Trail, announced, eventually, length, newest, of, records, settings};

/// More than Armor holds of what it wrote.
const LONG_CALLS: usize = 3_000;

/// The calls that are in the stream, each once, among those whose numbers are in `range`.
fn present(records: &[Record], range: std::ops::Range<usize>) -> BTreeSet<usize> {
    let numbers = of(records, EventName::ToolCall).into_iter().map(|call| {
        let id = call.request_id.as_ref().unwrap().as_str();
        id.strip_prefix("call-").unwrap().parse::<usize>().unwrap()
    });
    let mut found = BTreeSet::new();
    for number in numbers.filter(|number| range.contains(number)) {
        assert!(found.insert(number), "call {number} is there twice");
    }
    found
}

/// Whether the stream's newest entry is this call.
fn is_newest(server: &Server, number: usize) -> bool {
    let id = format!("call-{number}");
    newest(server).and_then(|record| record.request_id).is_some_and(|newest| newest.as_str() == id)
}

/// Asserts that `there` entries are those that Redis still had and those that Armor says it added again; beside
/// them there may be one batch that Redis had not answered when it ended.
fn assert_readded(there: usize, kept: usize, metrics: &AuditMetrics) {
    let sure = kept + metrics.events_readded() as usize;
    assert!((sure..sure + 64).contains(&there), "{there} of {sure}");
}

/// Whether Redis is used again after a loss: what is held has been taken up to be added again.
fn is_settled(trail: &Trail) -> bool {
    trail.audit.metrics().redis_is_up() && trail.audit.metrics().events_readded() > 0
}

#[tokio::test]
async fn what_redis_lost_is_added_again_as_far_as_it_is_held_and_the_rest_is_counted() {
    let mut server = Server::running(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 50);
    eventually("the first calls are in the stream", || length(&server) == 50).await;
    let () = server.command(&["SAVE"]);
    trail.long_calls(50, LONG_CALLS);
    trail.calls(50 + LONG_CALLS, 40);
    let all = 50 + LONG_CALLS + 40;
    eventually("all calls are in the stream", || length(&server) == all).await;
    server.kill();
    server.start();
    eventually("Redis is used again", || is_settled(&trail)).await;
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;

    let records = records(&server);
    let present = present(&records, 0..all);
    let lost = metrics.events_dropped() as usize;
    assert!(lost > 0);
    assert_readded(present.len(), 50, &metrics);
    assert_eq!(present.len() + lost, all);
    // The oldest that the copy has, and the newest that Armor held.
    assert_eq!(present, (0..50).chain(50 + lost..all).collect());
    let [loss] = of(&records, EventName::EventsDropped)[..] else { panic!("one announcement is enough") };
    assert_eq!((loss.dropped_count, loss.dropped_cause), (Some(lost as u64), Some(DroppedCause::RedisLost)));
    assert!(loss.message.as_str().contains("may have been delivered"));
    let times: Vec<_> = of(&records, EventName::ToolCall).iter().map(|call| call.timestamp).collect();
    assert!(times[49] <= loss.dropped_from.unwrap() && loss.dropped_from <= loss.dropped_to);
    assert!(loss.dropped_to.unwrap() <= loss.timestamp);
}

#[tokio::test]
async fn older_copy_that_comes_back_twice_is_counted_twice_and_each_time_exactly() {
    let mut server = Server::running(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 50);
    eventually("the first calls are in the stream", || length(&server) == 50).await;
    let () = server.command(&["SAVE"]);
    let mut made = 50;
    for round in 1..=2 {
        trail.long_calls(made, LONG_CALLS);
        made += LONG_CALLS;
        let lost = trail.audit.metrics().events_dropped() as usize;
        // Each loss has been announced by one event.
        eventually("all calls are in the stream", || length(&server) + lost == made + round - 1).await;
        server.kill();
        server.start();
        eventually("the loss is counted", || trail.audit.metrics().events_dropped() as usize > lost).await;
        let lost = trail.audit.metrics().events_dropped() as usize;
        eventually("the rest is there again", || length(&server) + lost == made + round).await;
    }
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;
    // With the announcement of the first loss, which may be among what was lost next.
    let records = records(&server);
    assert!(present(&records, 0..made).len() < made - LONG_CALLS / 4);
    assert_eq!(records.len() as u64 + metrics.events_dropped(), metrics.events_made());
}

#[tokio::test]
async fn what_a_promoted_replica_had_not_got_yet_is_added_again_or_counted() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let arguments = ["--bind", "127.0.0.1", "--port", &port, "--repl-diskless-sync-delay", "0"];
    let mut primary = Server::running(&arguments);
    let replica = Server::running(&["--bind", "127.0.0.1"]);
    let trail = Trail::start(settings(&format!("redis://127.0.0.1:{port}"), AMPLE));
    trail.calls(0, 100);
    let () = replica.command(&["REPLICAOF", "127.0.0.1", &port]);
    let is_linked = |up: &str| {
        let info: String = replica.command(&["INFO", "replication"]);
        info.contains(&format!("master_link_status:{up}"))
    };
    eventually("the replica has all", || is_linked("up") && length(&replica) == 100).await;

    // It lags by all that is not in buffers of the kernel.
    replica.signal("STOP");
    trail.long_calls(100, LONG_CALLS);
    eventually("the primary has all", || length(&primary) == 100 + LONG_CALLS).await;
    primary.kill();
    replica.signal("CONT");
    eventually("the replica is alone", || is_linked("down")).await;
    let () = replica.command(&["REPLICAOF", "NO", "ONE"]);
    let promoted = length(&replica);
    assert!((100..100 + LONG_CALLS).contains(&promoted), "{promoted}");
    // Under the address of the old primary, as a Service moves it.
    let () = replica.command(&["CONFIG", "SET", "port", &port]);
    trail.calls(100 + LONG_CALLS, 10);
    eventually("Redis is used again", || is_settled(&trail)).await;
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;

    let all = 100 + LONG_CALLS + 10;
    let records = records(&replica);
    let present = present(&records, 0..all);
    let lost = metrics.events_dropped() as usize;
    assert_readded(present.len(), promoted + 10, &metrics);
    assert_eq!(present.len() + lost, all);
    assert_eq!(announced(&records), lost as u64);
    assert!(lost > 0);
}

#[tokio::test]
async fn trimmed_events_are_neither_added_again_nor_counted() {
    const ROOM: u64 = 1024 * 1024;
    const CALLS: usize = 8_000;
    let mut server = Server::running(&["--appendonly", "yes", "--appendfsync", "always"]);
    let trail = Trail::start(settings(&server.url(), ROOM));
    trail.calls(0, CALLS);
    eventually("all calls were added", || is_newest(&server, CALLS - 1)).await;
    let before = present(&records(&server), 0..CALLS);
    assert!(before.len() < CALLS / 2, "{}", before.len());
    server.kill();
    eventually("the outage is noticed", || !trail.audit.metrics().redis_is_up()).await;
    server.start();
    eventually("Redis is used again", || trail.audit.metrics().redis_is_up()).await;
    assert_eq!(present(&records(&server), 0..CALLS), before);
    trail.calls(CALLS, 10);
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;
    assert!(is_newest(&server, CALLS + 9));
    assert_eq!((metrics.events_readded(), metrics.events_dropped()), (0, 0));
}

#[tokio::test]
async fn of_a_stream_that_is_trimmed_only_what_was_in_it_is_lost() {
    const ROOM: u64 = 40 * 1024 * 1024;
    let mut server = Server::running(&[]);
    let trail = Trail::start(settings(&server.url(), ROOM));
    trail.calls(0, 10);
    eventually("the first calls are in the stream", || length(&server) == 10).await;
    let () = server.command(&["SAVE"]);
    let all = 10 + 2 * LONG_CALLS;
    trail.long_calls(10, 2 * LONG_CALLS);
    eventually("all calls were added", || is_newest(&server, all - 1)).await;
    let before = present(&records(&server), 0..all);
    let oldest = *before.first().unwrap();
    assert!(oldest > 10, "nothing was trimmed");
    server.kill();
    server.start();
    eventually("Redis is used again", || is_settled(&trail)).await;
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;

    let records = records(&server);
    let after = present(&records, 10..all);
    assert_readded(after.len(), 0, &metrics);
    assert!(after.is_subset(&before));
    assert_eq!(before.difference(&after).count() as u64, metrics.events_dropped());
    assert_eq!(announced(&records), metrics.events_dropped());
}

#[tokio::test]
async fn two_gateways_count_each_its_own() {
    const SECOND: usize = 100_000;
    let mut server = Server::running(&[]);
    // Of one name: also containers that follow each other in one Pod are two.
    let (one, two) = (Trail::to(&server), Trail::to(&server));
    one.calls(0, 30);
    two.calls(SECOND, 20);
    eventually("the first calls are in the stream", || length(&server) == 50).await;
    let () = server.command(&["SAVE"]);
    two.calls(SECOND + 20, 5);
    one.long_calls(30, LONG_CALLS);
    eventually("the others too", || length(&server) == 55 + LONG_CALLS).await;
    server.kill();
    server.start();
    eventually("Redis is used again", || is_settled(&one)).await;
    eventually("Redis is used again by the other", || two.audit.metrics().redis_is_up()).await;
    let metrics = [one.audit.metrics().clone(), two.audit.metrics().clone()];
    one.stop().await;
    two.stop().await;

    let records = records(&server);
    let present = [present(&records, 0..SECOND), present(&records, SECOND..2 * SECOND)].map(|numbers| numbers.len());
    for (index, (before, all)) in [(30, 30 + LONG_CALLS), (20, 25)].into_iter().enumerate() {
        assert_readded(present[index], before, &metrics[index]);
        assert_eq!(present[index] + metrics[index].events_dropped() as usize, all, "of {index}");
    }
    assert!(metrics[0].events_dropped() > 0);
}

#[tokio::test]
async fn stream_that_is_emptied_behind_a_living_connection_is_noticed_with_the_next_event() {
    let server = Server::running(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 50);
    eventually("the first calls are in the stream", || length(&server) == 50).await;
    let () = server.command(&["FLUSHALL"]);
    trail.calls(50, 1);
    eventually("the call is there", || present(&records(&server), 50..51).len() == 1).await;
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;
    let there = present(&records(&server), 0..51).len() as u64;
    assert_eq!(there, metrics.events_readded() + 1);
    assert_eq!(there + metrics.events_dropped(), 51);
}

#[tokio::test]
async fn another_redis_has_lost_nothing_and_another_name_of_the_same_one_neither() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (server, other) = (Server::running(&["--bind", "127.0.0.1", "--port", &port]), Server::running(&[]));
    let trail = Trail::to(&server);
    trail.long_calls(0, LONG_CALLS);
    eventually("the first calls are in the stream", || length(&server) == LONG_CALLS).await;
    trail.audit.reconfigure(settings(&format!("redis://127.0.0.1:{port}"), AMPLE)).unwrap();
    trail.calls(LONG_CALLS, 10);
    eventually("calls come by the other name", || length(&server) == LONG_CALLS + 10).await;
    assert_eq!((trail.audit.metrics().events_readded(), trail.audit.metrics().events_dropped()), (0, 0));

    trail.audit.reconfigure(settings(&other.url(), AMPLE)).unwrap();
    trail.calls(LONG_CALLS + 10, 10);
    eventually("calls come to the other Redis", || is_newest(&other, LONG_CALLS + 19)).await;
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;
    assert_eq!(metrics.events_dropped(), 0);
    // Of the last seconds nobody knows whether the old one's readers have them: both have them.
    let there = length(&other);
    assert_eq!(present(&records(&other), 0..LONG_CALLS + 20).len(), there);
    assert_eq!((length(&server) + there) as u64, LONG_CALLS as u64 + 20 + metrics.events_readded());
}

/// A way to Redis on which what is sent can be held, as by a network that loses packets and delivers them later.
struct Way {
    url: String,
    /// So many of the first connections are held.
    held: watch::Sender<usize>,
}

impl Way {
    async fn to(server: &Server) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (held, holds) = watch::channel(0);
        let path = server.folder().join("redis.sock");
        tokio::spawn(async move {
            for number in 0.. {
                let (client, _) = listener.accept().await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_redis, mut to_redis) = UnixStream::connect(&path).await.unwrap().into_split();
                let mut holds = holds.clone();
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                        holds.wait_for(|held| number >= *held).await.unwrap();
                        to_redis.write_all(&bytes[..count]).await.unwrap();
                    }
                });
                // Nobody waits for these answers any more once a connection was given up.
                tokio::spawn(async move { tokio::io::copy(&mut from_redis, &mut to_client).await });
            }
        });
        Self { url, held }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_that_was_given_up_and_comes_late_is_there_once() {
    let server = Server::running(&[]);
    let way = Way::to(&server).await;
    let trail = Trail::start(settings(&way.url, AMPLE));
    trail.calls(0, 10);
    eventually("the first calls are in the stream", || length(&server) == 10).await;
    // Over the new connection nothing is added, because there is no room beside limits and sessions.
    let info = |section: &str, field: &str| -> u64 {
        let info: String = server.command(&["INFO", section]);
        let value = info.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        value.split(',').next().unwrap().trim().parse().unwrap()
    };
    let looked = || info("commandstats", "cmdstat_hget:calls=");
    let before = looked();
    let used = info("memory", "used_memory:");
    way.held.send_replace(1);
    let () = server.command(&["CONFIG", "SET", "maxmemory", &(used * 115 / 100).to_string()]);
    trail.calls(10, 20);
    eventually("it was looked what Redis has", || looked() > before).await;
    assert_eq!(length(&server), 10);
    way.held.send_replace(0);
    eventually("what was given up is there", || length(&server) == 30).await;
    let () = server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    trail.calls(30, 10);
    eventually("what came after is there", || length(&server) >= 40).await;
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;
    let records = records(&server);
    assert_eq!(present(&records, 0..40).len(), 40);
    assert_eq!((records.len(), metrics.events_readded(), metrics.events_dropped()), (40, 0, 0));
}
