//! Strangers who send as fast as they can.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::task::JoinSet;

use crate::auth::{entry, keyed};
use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, echo};
use crate::harness::http;
use crate::harness::mcp::{Legacy, Modern};
use crate::harness::redis::Redis;

const CONNECTIONS: u8 = 48;
/// Each connection is of one of so many addresses.
const ADDRESSES: u8 = 12;
/// The flood lasts until there were so many of both.
const REFUSED: u64 = 15_000;
const CALLS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn principal_works_beside_strangers_at_full_speed_and_keeps_every_event() {
    // Room for the principal's events and what a few addresses may cause, but not for an event of each refusal.
    const ROOM: u64 = 1024 * 1024;
    let redis = Redis::start().await;
    let server = double::legacy(&["echo"], echo).await;
    let mut config =
        keyed(Config::new().server("crm", &server.url).redis(&redis.url), &entry("a", "agw_a", "alice", ""));
    config.yaml["audit"]["streamMaxBytes"] = ROOM.into();
    let mut armor = Armor::start(&config).await;

    let (refused, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut strangers = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (refused, over, url) = (refused.clone(), over.clone(), armor.url.clone());
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1 + number % ADDRESSES));
        strangers.spawn(async move {
            let client = http::client_from(Some(address));
            let (body, mut headers) = (Modern::body("tools/list", json!({})), Modern::headers("tools/list", None));
            headers.push(("x-api-key", "agw_stranger"));
            while !over.load(Ordering::Relaxed) {
                let answer = client.request(http::request(Method::POST, &url, &headers, body.clone())).await.unwrap();
                assert_eq!(answer.status(), 401);
                answer.collect().await.unwrap();
                refused.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    let client = Legacy::connect_as(&armor.url, Some("agw_a")).await;
    let mut asked = BTreeSet::new();
    while asked.len() < CALLS || refused.load(Ordering::Relaxed) < REFUSED {
        let text = format!("call {}", asked.len());
        let reply = client.ask("tools/call", json!({"name": "crm__echo", "arguments": {"text": text}})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer = reply.message()["result"]["content"][0]["text"].as_str().unwrap().to_owned();
        assert_eq!(answer, json!({"text": text}).to_string());
        assert!(asked.insert(reply.header("x-request-id").unwrap().to_owned()));
    }
    over.store(true, Ordering::Relaxed);
    while let Some(done) = strangers.join_next().await {
        done.unwrap();
    }
    let refused = refused.load(Ordering::Relaxed);
    assert_eq!(armor.metric_sum("armor_refusals_total").await, refused);
    assert_eq!(armor.stop().await, 0);

    let events = redis.events().await;
    let of = |event: &str| events.iter().filter(|e| e["event"] == event).collect::<Vec<_>>();
    let calls = of("tool_call");
    let told: BTreeSet<String> = calls.iter().map(|call| call["request.id"].as_str().unwrap().to_owned()).collect();
    assert!(told == asked && calls.len() == asked.len(), "{} events of {} calls", calls.len(), asked.len());
    assert!(calls.iter().all(|call| call["user.id"] == "alice" && call["status"] == "success"));
    let denied = of("auth_denied");
    let told: u64 = denied.iter().map(|e| e["repeat.count"].as_u64().unwrap_or(1)).sum();
    let dropped: u64 = of("events_dropped").iter().map(|e| e["dropped.count"].as_u64().unwrap()).sum();
    assert_eq!(told + dropped, refused, "each refusal is told once or counted");
    let addresses: BTreeSet<_> = denied.iter().map(|e| e["client.ip"].as_str().unwrap()).collect();
    assert_eq!(addresses.len(), usize::from(ADDRESSES));
    let smallest = denied.iter().map(|e| e.to_string().len()).min().unwrap();
    assert!(refused * smallest as u64 > 5 * ROOM, "an event for each would have pushed out the calls");
}
