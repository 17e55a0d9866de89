//! A stream that is full because nobody reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, Seen, result};
use crate::harness::eventually;
use crate::harness::http;
use crate::harness::mcp::Legacy;
use crate::harness::redis::{Redis, STREAM};

/// For about 15,000 events.
const ROOM: u64 = 12 * 1024 * 1024;
/// More than waits in a gateway.
const CALLS_WHILE_FULL: usize = 10_500;
const CALLERS: usize = 16;

/// Calls in a session, each of which must get its result.
async fn calls(session: &Arc<Legacy>, count: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (next, session) = (next.clone(), session.clone());
        callers.spawn(async move {
            let client = http::new_client();
            while next.fetch_add(1, Ordering::Relaxed) < count {
                let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
                    "params": {"name": "s__t", "arguments": {}}});
                let request = http::request(Method::POST, &session.url, &session.headers(), body.to_string());
                let response = client.request(request).await.unwrap();
                assert_eq!(response.status(), 200);
                let answer = response.collect().await.unwrap().to_bytes();
                assert!(answer.windows(9).any(|part| part == b"\"content\""), "{answer:?}");
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
}

async fn used_memory(redis: &Redis) -> u64 {
    let text: String = redis.command(&["INFO", "memory"]).await;
    let value = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
    value.unwrap().trim().parse().unwrap()
}

/// How many entries the stream ever had.
async fn ever_added(redis: &Redis) -> u64 {
    let fields: std::collections::HashMap<String, redis::Value> = redis.command(&["XINFO", "STREAM", STREAM]).await;
    redis::from_redis_value(fields["entries-added"].clone()).unwrap()
}

/// New sessions can be made, old ones go on, and one that is ended at a gateway is over at the other: that is told
/// through the same Redis.
async fn sessions_work(one: &Armor, two: &Armor, old: &Legacy) {
    assert_eq!(old.ask("ping", json!({})).await.status, 200);
    let mut new = Legacy::connect(&one.url).await;
    assert_eq!(new.tools().await, ["s__t"]);
    new.url.clone_from(&two.url);
    assert_eq!(new.tools().await, ["s__t"]);
    assert_eq!(new.delete().await.status, 200);
    new.url.clone_from(&one.url);
    let refused = async || (new.ask("tools/list", json!({})).await.status == 404).then_some(());
    eventually("the other gateway refuses the session", refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_sessions_go_on_while_the_stream_is_full_and_what_does_not_fit_is_counted() {
    let redis = Redis::start_with(&["--maxmemory", "32mb", "--maxmemory-policy", "noeviction"]).await;
    // Every SIEM is down: nobody reads for this group. The trail of the days before fills the room.
    let () = redis.command(&["XGROUP", "CREATE", STREAM, "soc/splunk", "0", "MKSTREAM"]).await;
    let old_event = "x".repeat(600);
    let script = "for i = 1, 20000 do redis.call('XADD', KEYS[1], '*', 'event', ARGV[1]) end";
    let () = redis.command(&["EVAL", script, "1", STREAM, &old_event]).await;
    let added_before = ever_added(&redis).await;

    let server = double::legacy(&["t"], |request: Seen| async move { result(&request, json!({"content": []})) }).await;
    let mut config = Config::new().server("s", &server.url).redis(&redis.url);
    config.yaml["audit"]["streamMaxBytes"] = ROOM.into();
    let (one, two) = (Armor::start(&config).await, Armor::start(&config.replica()).await);
    let session = Arc::new(Legacy::connect(&one.url).await);

    // At its room the stream loses its oldest for each that is added; nothing waits or is refused.
    calls(&session, 500).await;
    sessions_work(&one, &two, &session).await;
    redis.await_events("tool_call", 500).await;
    assert_eq!(one.metric_sum("armor_audit_dropped_total").await, 0);
    let length: u64 = redis.command(&["XLEN", STREAM]).await;
    assert!(length < ever_added(&redis).await, "nothing was trimmed");

    // At its share of the memory nothing is added any more. The rest is for others.
    let used = used_memory(&redis).await;
    let () = redis.command(&["CONFIG", "SET", "maxmemory", &(used * 100 / 85).to_string()]).await;
    let full = async || (one.metric("armor_audit_redis_up ").await == 0.0).then_some(());
    eventually("the gateway knows that it is full", full).await;
    let added_when_full = ever_added(&redis).await;
    calls(&session, CALLS_WHILE_FULL).await;
    sessions_work(&one, &two, &session).await;
    let () = redis.command(&["SET", "limit:{0d3f2c1a-pool}:alice", "1"]).await;
    assert_eq!(ever_added(&redis).await, added_when_full);
    assert!(!redis.command::<String>(&["INFO", "errorstats"]).await.contains("OOM"), "Redis refused something");
    let dropped = one.metric_sum("armor_audit_dropped_total").await;
    let full = one.metric(r#"armor_audit_dropped_total{lane="call",cause="redis_full"} "#).await;
    assert!(full >= (CALLS_WHILE_FULL - 10_000) as f64, "{full} of {dropped}");

    // With room again everything goes on as before, and the loss is told.
    let () = redis.command(&["CONFIG", "SET", "maxmemory", "64mb"]).await;
    let losses = async || {
        let events = redis.events().await;
        let lost =
            |e: &serde_json::Value| (e["event"] == "events_dropped").then(|| e["dropped.count"].as_u64().unwrap());
        let told: u64 = events.iter().filter_map(lost).sum();
        (told == dropped && one.metric("armor_audit_queue_length ").await == 0.0).then_some(())
    };
    eventually("the loss is told", losses).await;
    calls(&session, 100).await;
    sessions_work(&one, &two, &session).await;
    let settled = async || {
        let (mut made, mut lost) = (0, 0);
        for armor in [&one, &two] {
            made += armor.metric_sum("armor_audit_events_total").await;
            lost += armor.metric_sum("armor_audit_dropped_total").await;
        }
        (ever_added(&redis).await - added_before == made - lost).then_some(lost)
    };
    assert_eq!(eventually("all that was made is in the stream or counted", settled).await, dropped);
    let calls_made = one.metric(r#"armor_audit_events_total{class="tool_activity"} "#).await;
    assert_eq!(calls_made, (500 + CALLS_WHILE_FULL + 100) as f64);
    assert!(!redis.command::<String>(&["INFO", "errorstats"]).await.contains("OOM"), "Redis refused something");
}
