//! Official clients and servers of both eras, as their users see them.

use serde_json::json;

use crate::harness::armor::{Armor, Config};
use crate::harness::peers::{self, Peer};
use crate::harness::redis::Redis;

const CLIENTS: [&str; 5] = ["python-1", "python-2", "npm-1", "npm-2", "npm-2-modern"];

#[tokio::test]
async fn official_clients_list_call_and_read_errors_and_each_call_is_one_event() {
    let redis = Redis::start().await;
    let one = Peer::python("1").await;
    let two = Peer::python("2").await;
    let config = Config::new()
        .server("old", &one.url)
        .server("new", &two.url)
        .server("gone", "http://127.0.0.1:9/mcp")
        .redis(&redis.url);
    let armor = Armor::start(&config).await;
    assert_eq!(armor.server("old").await["eras"], json!(["2025-11-25"]));
    let new = armor.server("new").await;
    assert_eq!(new["eras"], json!(["2025-11-25", "2026-07-28"]), "{new}");

    let mut calls = 0;
    for kind in CLIENTS {
        let seen = peers::client(kind, &armor.url, &["new__add", "new__fail", "gone__x"]).await;
        let tools: Vec<&str> = seen["tools"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
        assert!(tools.contains(&"new__add"), "{kind}: {seen}");
        // A client of 2026-07-28 sees no server that does not speak it.
        let modern = matches!(kind, "python-2" | "npm-2-modern");
        assert_eq!(tools.contains(&"old__add"), !modern, "{kind}: {seen}");
        assert_eq!(seen["sum"], "5", "{kind}: {seen}");
        assert_eq!(seen["failed"], true, "{kind}: {seen}");
        assert_eq!(seen["error"]["code"], 502, "{kind}: {seen}");
        // The session survives a refusal.
        assert_eq!(seen["again"], "5", "{kind}: {seen}");
        calls += 4;
    }
    let events = redis.await_events("tool_call", calls).await;
    assert_eq!(events.len(), calls);
    let count = |status: &str| events.iter().filter(|e| e["status"] == status).count();
    assert_eq!((count("success"), count("error")), (calls / 2, calls / 2));
    assert!(events.iter().all(|e| e["agent.name"].is_string()));
}

#[tokio::test]
async fn official_clients_fall_back_to_a_revision_that_the_pool_speaks() {
    let one = Peer::python("1").await;
    let prefixed = Armor::start(&Config::new().server("old", &one.url)).await;
    let plain = Armor::start(&Config::new().server_with("old", &one.url, json!({"prefix": ""}))).await;
    for kind in CLIENTS {
        for (armor, add, fail) in [(&prefixed, "old__add", "old__fail"), (&plain, "add", "fail")] {
            let seen = peers::client(kind, &armor.url, &[add, fail, "old__no-such-tool"]).await;
            assert_eq!(seen["sum"], "5", "{kind}: {seen}");
            assert_eq!(seen["failed"], true, "{kind}: {seen}");
        }
    }
}

#[tokio::test]
async fn an_official_client_answers_what_a_server_asks_within_a_call() {
    let two = Peer::python("1").await;
    let prefixed = Armor::start(&Config::new().server("s", &two.url).server("gone", "http://127.0.0.1:9/mcp")).await;
    let plain = Armor::start(&Config::new().server_with("s", &two.url, json!({"prefix": ""}))).await;
    for (armor, ask) in [(&prefixed, "s__ask"), (&plain, "ask")] {
        for kind in ["python-1", "npm-1"] {
            let seen = peers::client(kind, &armor.url, &[ask]).await;
            assert_eq!(seen["asked"], "blue", "{kind} {ask}: {seen}");
        }
    }
}
