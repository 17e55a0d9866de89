//! Clients and servers of the two eras.

use serde_json::{Value, json};

use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, echo};
use crate::harness::mcp::{Legacy, Modern};
use crate::harness::redis::Redis;

async fn mixed() -> (Armor, Redis) {
    let redis = Redis::start().await;
    let old = double::of_eras(&["2025-03-26"], &["t"], echo).await;
    let new = double::of_eras(&["2026-07-28"], &["t"], echo).await;
    let both = double::of_eras(&["2025-11-25", "2026-07-28"], &["t"], echo).await;
    let config =
        Config::new().server("old", &old.url).server("new", &new.url).server("both", &both.url).redis(&redis.url);
    let armor = Armor::start(&config).await;
    // The doubles live as long as the process of the test.
    std::mem::forget((old, new, both));
    (armor, redis)
}

#[tokio::test]
async fn each_client_sees_the_servers_that_speak_its_revision() {
    let (armor, redis) = mixed().await;
    let eras = async |name: &str| armor.server(name).await["eras"].clone();
    assert_eq!(eras("old").await, json!(["2025-03-26"]));
    assert_eq!(eras("new").await, json!(["2026-07-28"]));
    assert_eq!(eras("both").await, json!(["2025-11-25", "2026-07-28"]));

    let legacy = Legacy::connect(&armor.url).await;
    let modern = Modern::new(&armor.url);
    assert_eq!(legacy.tools().await, ["old__t", "both__t"]);
    assert_eq!(modern.tools().await, ["new__t", "both__t"]);
    for (name, answer) in
        [("new", legacy.call("new__t", json!({})).await), ("old", modern.call("old__t", json!({})).await)]
    {
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert_eq!(answer["error"]["data"]["reason"], "revision_not_spoken", "{answer}");
        assert_eq!(answer["error"]["data"]["server"], name);
    }
    assert!(legacy.call("old__t", json!({"a": 1})).await["result"].is_object());
    assert!(modern.call("new__t", json!({"a": 1})).await["result"].is_object());
    let calls = redis.await_events("tool_call", 4).await;
    let failed: Vec<_> = calls.iter().filter(|c| c["status"] == "error").collect();
    assert_eq!(failed.len(), 2);
    assert!(failed.iter().all(|c| c["message"].as_str().unwrap().contains("different protocol revisions")));
}

#[tokio::test]
async fn a_pool_offers_the_revisions_that_its_servers_speak() {
    let old = double::of_eras(&["2025-11-25"], &["t"], echo).await;
    let armor = Armor::start(&Config::new().server("old", &old.url)).await;
    let reply = Modern::new(&armor.url).ask("server/discover", json!({})).await;
    assert_eq!(reply.status, 400);
    let error = reply.json()["error"].clone();
    assert_eq!(error["code"], -32022);
    assert_eq!(error["data"]["supported"], json!(["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]));

    let new = double::of_eras(&["2026-07-28"], &["t"], echo).await;
    let armor = Armor::start(&Config::new().server("new", &new.url)).await;
    let discovered = Modern::new(&armor.url).ask("server/discover", json!({})).await.json();
    assert_eq!(discovered["result"]["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(discovered["result"]["resultType"], "complete");
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}});
    let reply = crate::harness::http::send(
        ::http::Method::POST,
        &armor.url,
        &[("content-type", "application/json")],
        initialize.to_string(),
    )
    .await
    .unwrap();
    assert_eq!(reply.json()["error"]["data"]["supported"], json!(["2026-07-28"]));
    assert!(reply.header("mcp-session-id").is_none());
}

#[tokio::test]
async fn revisions_are_negotiated_and_passed_to_the_server() {
    let (armor, _redis) = mixed().await;
    for (asked, agreed) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
        ("1900-01-01", "2025-11-25"),
    ] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}});
        let headers = [("content-type", "application/json")];
        let reply =
            crate::harness::http::send(::http::Method::POST, &armor.url, &headers, body.to_string()).await.unwrap();
        assert_eq!(reply.json()["result"]["protocolVersion"], agreed, "{asked}");
    }
}

#[tokio::test]
async fn an_unprefixed_server_says_itself_what_it_speaks() {
    let old = double::of_eras(&["2025-11-25"], &["t"], echo).await;
    let armor = Armor::start(&Config::new().server_with("old", &old.url, json!({"prefix": ""}))).await;
    let reply = Modern::new(&armor.url).ask("tools/list", json!({})).await;
    assert_eq!((reply.status, reply.json()["error"]["code"].as_i64()), (400, Some(-32022)));
    assert_eq!(reply.json()["error"]["data"]["supported"], json!(["2025-11-25"]));
    let client = Legacy::connect(&armor.url).await;
    assert_eq!(client.tools().await, ["t"]);
    let discovered: Value = client.ask("ping", json!({})).await.message();
    assert_eq!(discovered["result"], json!({}));
}
