//! The end of a process: calls under way are finished, and told.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, Seen, event, events, result};
use crate::harness::eventually;
use crate::harness::mcp::Legacy;
use crate::harness::redis::Redis;
use crate::harness::{PATIENCE, http};

#[tokio::test]
async fn calls_under_way_are_finished_and_the_trail_is_sent() {
    let redis = Redis::start().await;
    let (go, gone) = tokio::sync::watch::channel(false);
    let server = double::legacy(&["t"], move |request: Seen| {
        let mut gone = gone.clone();
        async move {
            gone.wait_for(|go| *go).await.unwrap();
            match request.json()["id"] == json!(1) {
                true => result(&request, json!({"content": []})),
                false => events(vec![event(json!({"jsonrpc": "2.0", "id": 2, "result": {"content": []}}))]),
            }
        }
    })
    .await;
    let config = Config::new().server_with("s", &server.url, json!({"timeout": "1m"})).redis(&redis.url);
    let mut armor = Armor::start(&config).await;
    let client = Legacy::connect(&armor.url).await;
    let call = |id: u32| {
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "s__t"}});
        client.post(body.to_string())
    };
    let mut listening = client.listen().await;
    listening.raw(PATIENCE).await.unwrap();
    let work = async {
        let (one, two) = tokio::join!(call(1), call(2));
        (one.message(), two.message())
    };
    let end = async {
        eventually("both calls at the server", async || (server.seen("tools/call").len() == 2).then_some(())).await;
        armor.signal("-TERM");
        let ready = eventually("not ready", async || armor.probe("/readyz").await.filter(|r| r.status == 503)).await;
        assert_eq!(ready.text(), "shutting down\n");
        assert_eq!(armor.probe("/livez").await.unwrap().status, 200);
        // A stream without an end is ended at once.
        while listening.raw(PATIENCE).await.is_some() {}
        armor.signal("-TERM");
        eventually("no new connections", async || {
            http::new_client().request(http::request(::http::Method::GET, &armor.url, &[], "")).await.err()
        })
        .await;
        go.send(true).unwrap();
    };
    let ((one, two), ()) = tokio::join!(work, end);
    assert!(one["result"].is_object() && two["result"].is_object(), "{one} {two}");
    assert_eq!(armor.exit_code().await, 0);
    let calls = redis.events().await.into_iter().filter(|e| e["event"] == "tool_call").count();
    assert_eq!(calls, 2, "the tail was sent before the process ended");
}

#[tokio::test]
async fn an_idle_armor_ends_soon_and_a_hanging_call_does_not_keep_it() {
    let redis = Redis::start().await;
    let mut idle = Armor::start(&Config::new().redis(&redis.url)).await;
    let started = Instant::now();
    assert_eq!(idle.stop().await, 0);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());

    let server = double::legacy(&["t"], |_| std::future::pending()).await;
    let config = Config::new().server_with("s", &server.url, json!({"timeout": "5m"})).redis(&redis.url);
    let mut armor = Armor::start(&config).await;
    let client = Legacy::connect(&armor.url).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"s__t"}}"#;
    let headers = client.headers();
    let hanging = http::send(::http::Method::POST, &client.url, &headers, body);
    let end = async {
        eventually("the call at the server", async || (server.seen("tools/call").len() == 1).then_some(())).await;
        let started = Instant::now();
        assert_eq!(armor.stop().await, 0);
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    };
    let (broken, ()) = tokio::join!(hanging, end);
    assert!(broken.is_err());
    assert_eq!(redis.events().await.iter().filter(|e| e["event"] == "tool_call").count(), 1);
}
