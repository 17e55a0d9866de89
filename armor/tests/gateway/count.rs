//! Exactly one event for each call, whatever becomes of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::PATIENCE;
use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, Seen, Step, event, events, result, status};
use crate::harness::http;
use crate::harness::mcp::Legacy;
use crate::harness::redis::Redis;

const CALLS: usize = 10_000;
const CALLERS: usize = 16;

/// What call number N meets. Every kind comes about equally often.
const KINDS: [&str; 9] = ["json", "sse", "error", "tool-error", "dies", "cut", "down", "leave-early", "leave-late"];

/// Which calls have reached the server, of those that get no answer.
static ARRIVED: [AtomicBool; CALLS] = [const { AtomicBool::new(false) }; CALLS];

async fn arrived(n: usize) {
    let started = Instant::now();
    while !ARRIVED[n].load(Ordering::Acquire) {
        assert!(started.elapsed() < PATIENCE, "call {n} does not reach the server");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_of_callers_that_leave_and_servers_that_die_are_ten_thousand_events() {
    let redis = Redis::start().await;
    let server = double::legacy(&["t"], |request: Seen| async move {
        let message = request.json();
        let id = message["id"].clone();
        match message["params"]["arguments"]["kind"].as_str().unwrap() {
            "json" => result(&request, json!({"content": []})),
            "sse" => events(vec![
                event(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})),
                event(json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}})),
            ]),
            "error" => double::json_text(
                json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "no"}}).to_string(),
            ),
            "tool-error" => result(&request, json!({"content": [], "isError": true})),
            "dies" => events(vec![Step::Send("data: {\"jsonrpc\"".into()), Step::Die]),
            "cut" => double::steps("application/json", vec![Step::Send("{\"jsonrpc\"".into()), Step::Die]),
            "down" => status(503),
            // The caller leaves before an answer, or in the middle of one.
            "leave-early" => {
                ARRIVED[id.as_u64().unwrap() as usize].store(true, Ordering::Release);
                std::future::pending().await
            }
            _ => events(vec![
                event(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})),
                Step::Hang,
            ]),
        }
    })
    .await;
    let config = Config::new().server_with("s", &server.url, json!({"timeout": "1m"})).redis(&redis.url);
    let mut armor = Armor::start(&config).await;
    let session = Arc::new(Legacy::connect(&armor.url).await);

    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (next, session) = (next.clone(), session.clone());
        callers.spawn(async move {
            let client = http::new_client();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= CALLS {
                    return;
                }
                let kind = KINDS[n % KINDS.len()];
                let body = json!({"jsonrpc": "2.0", "id": n, "method": "tools/call",
                    "params": {"name": "s__t", "arguments": {"kind": kind}}});
                let request = http::request(Method::POST, &session.url, &session.headers(), body.to_string());
                let call = client.request(request);
                if kind == "leave-early" {
                    // A caller that leaves before its request was read has made no call.
                    tokio::select! {
                        answer = call => panic!("answered: {answer:?}"),
                        () = arrived(n) => continue,
                    }
                }
                let mut response = call.await.unwrap();
                assert_eq!(response.status(), 200, "{kind}");
                if kind == "leave-late" {
                    response.body_mut().frame().await.unwrap().unwrap();
                    continue;
                }
                response.collect().await.unwrap();
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }

    let calls = redis.await_events("tool_call", CALLS).await;
    assert_eq!(armor.stop().await, 0);
    let events = redis.events().await;
    let total = events.iter().filter(|e| e["event"] == "tool_call").count();
    assert_eq!((calls.len(), total), (CALLS, CALLS));
    assert!(!events.iter().any(|e| e["event"] == "events_dropped"));

    let mut ids: Vec<&str> = calls.iter().map(|c| c["request.id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CALLS, "each event is of another request");
    let mut sequence: Vec<u64> = events.iter().map(|e| e["component.seq"].as_u64().unwrap()).collect();
    sequence.sort_unstable();
    assert!(sequence.windows(2).all(|w| w[1] == w[0] + 1), "no gap and no repetition");

    let mut found: HashMap<(String, String), usize> = HashMap::new();
    for call in &calls {
        let text = |key: &str| call[key].as_str().unwrap().to_owned();
        *found.entry((text("status"), text("message"))).or_default() += 1;
    }
    let of = |kinds: &[&str]| (0..CALLS).filter(|n| kinds.contains(&KINDS[n % KINDS.len()])).count();
    let count = |status: &str, part: &str| {
        found.iter().filter(|((s, m), _)| s == status && m.contains(part)).map(|(_, n)| n).sum::<usize>()
    };
    assert_eq!(count("success", ""), of(&["json", "sse"]), "{found:?}");
    assert_eq!(count("error", "JSON-RPC error"), of(&["error"]), "{found:?}");
    assert_eq!(count("error", "the tool reported"), of(&["tool-error"]), "{found:?}");
    assert_eq!(count("error", "disconnected"), of(&["leave-early", "leave-late"]), "{found:?}");
    assert_eq!(count("error", "HTTP error"), of(&["down"]), "{found:?}");
    assert_eq!(count("error", ""), CALLS - of(&["json", "sse"]), "{found:?}");
}
