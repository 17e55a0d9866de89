//! Several servers as one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, Double, echo, manners, result};
use crate::harness::eventually;
use crate::harness::mcp::{Legacy, Modern};
use crate::harness::redis::Redis;

const BOTH: &[&str] = &["2025-11-25", "2026-07-28"];

#[tokio::test]
async fn tools_are_prefixed_filtered_and_otherwise_untouched() {
    let crm = double::of_eras(BOTH, &["list", "list_salaries", "get"], echo).await;
    let wiki = double::of_eras(BOTH, &["list"], echo).await;
    let config = Config::new()
        .server_with("crm", &crm.url, json!({"tools": {"allow": ["list*"], "deny": ["*_salaries"]}}))
        .server("wiki", &wiki.url);
    let armor = Armor::start(&config).await;
    let legacy = Legacy::connect(&armor.url).await;
    let modern = Modern::new(&armor.url);
    assert_eq!(legacy.tools().await, ["crm__list", "wiki__list"]);
    assert_eq!(modern.tools().await, ["crm__list", "wiki__list"]);

    let list = legacy.ask("tools/list", json!({})).await.text();
    // Bytes of fields that Armor does not know.
    assert!(list.contains(r#""x-unknown":[1.5,{"a":2,"b":1}]"#), "{list}");
    let list = modern.ask("tools/list", json!({})).await.json();
    assert_eq!(list["result"]["resultType"], "complete");
    assert_eq!(list["result"]["ttlMs"], 1000);
    assert_eq!(list["result"]["cacheScope"], "private");

    // A list is never the check.
    for name in ["crm__get", "crm__list_salaries", "nobody__list", "list", "", "__list", "crm__"] {
        let answer = legacy.call(name, json!({})).await;
        assert_eq!(answer["error"]["code"], -32602, "{name}: {answer}");
    }
    assert!(crm.seen("tools/call").is_empty());
    assert!(wiki.seen("tools/call").is_empty());

    let answer = modern.call("wiki__list", json!({"text": "x"})).await;
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"text":"x"}"#);
    let seen = &wiki.seen("tools/call")[0];
    assert_eq!(seen.json()["params"]["name"], "list");
    assert_eq!(seen.header("mcp-name"), Some("list"));
    assert_eq!(seen.header("mcp-method"), Some("tools/call"));
    assert_eq!(armor.server("crm").await["tools"]["count"], 1);
}

#[tokio::test]
async fn a_server_that_is_down_or_hangs_costs_its_own_tools_only() {
    let good = double::legacy(&["list"], echo).await;
    let hangs = Double::start(|_| std::future::pending()).await;
    let config = Config::new()
        .server("dead", "http://127.0.0.1:9/mcp")
        .server_with("hangs", &hangs.url, json!({"timeout": "700ms"}))
        .server("good", &good.url);
    let armor = Armor::start(&config).await;
    let client = Legacy::connect(&armor.url).await;
    let started = Instant::now();
    assert_eq!(client.tools().await, ["good__list"]);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(armor.server("dead").await["reason"], "ConnectFailed");
    assert_eq!(armor.server("hangs").await["reason"], "Timeout");
    assert_eq!(armor.server("good").await["reason"], "Connected");
}

#[tokio::test]
async fn a_server_that_begins_to_hang_is_waited_for_until_its_deadline() {
    let (hang, wait) = tokio::sync::watch::channel(false);
    let moody = Double::start(move |request| {
        let wait = wait.clone();
        async move {
            if *wait.borrow() {
                std::future::pending::<()>().await;
            }
            manners(&request, &["2025-11-25"], &["list"]).unwrap()
        }
    })
    .await;
    let good = double::legacy(&["list"], echo).await;
    let config = Config::new().server_with("moody", &moody.url, json!({"timeout": "800ms"})).server("good", &good.url);
    let armor = Armor::start(&config).await;
    let client = Legacy::connect(&armor.url).await;
    assert_eq!(client.tools().await, ["moody__list", "good__list"]);
    hang.send(true).unwrap();
    // Long enough that the list is not taken from what is known.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let started = Instant::now();
    let tools = client.tools().await;
    assert!(tools.contains(&"good__list".to_owned()));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    eventually("the hanging server's tools are left out", async || {
        (client.tools().await == ["good__list"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_prefix_that_is_taken_refuses_the_later_server() {
    let first = double::legacy(&["a"], echo).await;
    let later = double::legacy(&["b"], echo).await;
    let config = Config::new().server("one", &first.url).server_with("two", &later.url, json!({"prefix": "one"}));
    let armor = Armor::start(&config).await;
    let two = armor.server("two").await;
    assert_eq!((two["state"].as_str(), two["reason"].as_str()), (Some("Failed"), Some("PrefixCollision")));
    assert!(two["message"].as_str().unwrap().contains("server 'one' already has the prefix 'one'"));
    let client = Legacy::connect(&armor.url).await;
    assert_eq!(client.tools().await, ["one__a"]);
    assert!(later.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn pages_are_joined_and_a_new_tool_is_told_and_listed() {
    let (more, now) = tokio::sync::watch::channel(1usize);
    let server = Double::start(move |request| {
        let count = *now.borrow();
        async move {
            if request.method() != "tools/list" {
                return manners(&request, BOTH, &[]).unwrap();
            }
            // One tool a page.
            let page: usize = request.json()["params"]["cursor"].as_str().map_or(0, |c| c.parse().unwrap());
            let mut answer = json!({"tools": [{"name": format!("t{page}"), "inputSchema": {"type": "object"}}],
                "resultType": "complete", "ttlMs": 5, "cacheScope": "public"});
            if page + 1 < count {
                answer["nextCursor"] = (page + 1).to_string().into();
            }
            result(&request, answer)
        }
    })
    .await;
    let armor = Armor::start(&Config::new().server("s", &server.url)).await;
    let legacy = Legacy::connect(&armor.url).await;
    let modern = Modern::new(&armor.url);
    assert_eq!(legacy.tools().await, ["s__t0"]);
    let mut heard = legacy.listen().await;
    assert_eq!(heard.status, 200);
    let filter = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": ["x://y"]}});
    let mut subscribed = modern.stream("subscriptions/listen", filter).await;
    let first: Value = serde_json::from_str(&subscribed.event().await.unwrap()).unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["notifications"], json!({"toolsListChanged": true}));
    assert_eq!(first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 7);

    more.send(3).unwrap();
    eventually("the new tools", async || (modern.tools().await == ["s__t0", "s__t1", "s__t2"]).then_some(())).await;
    assert_eq!(legacy.tools().await, ["s__t0", "s__t1", "s__t2"]);
    let told: Value = serde_json::from_str(&heard.event().await.unwrap()).unwrap();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    let told: Value = serde_json::from_str(&subscribed.event().await.unwrap()).unwrap();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 7);
}

#[tokio::test]
async fn a_call_names_what_was_not_found_in_the_trail() {
    let redis = Redis::start().await;
    let server = double::legacy(&["a"], echo).await;
    let armor = Armor::start(&Config::new().server("s", &server.url).redis(&redis.url)).await;
    let client = Legacy::connect(&armor.url).await;
    client.call("other__a", json!({})).await;
    let call = &redis.await_events("tool_call", 1).await[0];
    assert_eq!((call["status"].as_str(), call["action"].as_str()), (Some("error"), Some("allowed")));
    assert_eq!(call["rpc.error_code"], -32602);
    assert_eq!(call["tool.name"], "other__a");
    let route = &redis.await_events("route_not_found", 1).await[0];
    assert_eq!(route["route.cause"], "unknown_server");
    assert_eq!(route["request.id"], call["request.id"]);
}
