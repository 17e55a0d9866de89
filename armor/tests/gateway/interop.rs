//! Official clients and servers of both eras, as their users see them.

use serde_json::{Value, json};

use crate::harness::armor::{Armor, Config};
use crate::harness::mcp::{Legacy, Modern};
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
async fn prompts_resources_and_completions_of_several_servers_find_theirs() {
    let one = Peer::python("1").await;
    let two = Peer::python("2").await;
    let armor = Armor::start(&Config::new().server("one", &one.url).server("two", &two.url)).await;
    let legacy = Legacy::connect(&armor.url).await;
    let modern = Modern::new(&armor.url);
    let list = async |kind: &str, method: &str| {
        let answers = [legacy.ask(method, json!({})).await.message(), modern.ask(method, json!({})).await.message()];
        answers.map(|answer| answer["result"][kind].as_array().unwrap().clone())
    };
    let names =
        |items: &[Value], key: &str| items.iter().map(|i| i[key].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let [old, new] = list("prompts", "prompts/list").await;
    assert_eq!(names(&old, "name"), ["one__summarize", "two__summarize"]);
    assert_eq!(names(&new, "name"), ["two__summarize"]);
    let [old, new] = list("resources", "resources/list").await;
    // URIs belong to their servers; both have this one.
    assert_eq!(names(&old, "uri"), ["peer://greeting", "peer://greeting"]);
    assert_eq!(names(&new, "uri"), ["peer://greeting"]);

    let get = json!({"name": "one__summarize", "arguments": {"text": "x"}});
    let prompt = legacy.ask("prompts/get", get.clone()).await.message();
    assert_eq!(prompt["result"]["messages"][0]["content"]["text"], "Summarize: x");
    // The server does not speak the revision of this client.
    assert_eq!(modern.ask("prompts/get", get).await.message()["error"]["code"], -32602);
    let get = json!({"name": "two__summarize", "arguments": {"text": "y"}});
    let prompt = modern.ask("prompts/get", get).await.message();
    assert_eq!(prompt["result"]["messages"][0]["content"]["text"], "Summarize: y");

    for answer in [
        legacy.ask("resources/read", json!({"uri": "peer://greeting"})).await.message(),
        modern.ask("resources/read", json!({"uri": "peer://greeting"})).await.message(),
    ] {
        assert_eq!(answer["result"]["contents"][0]["text"], "hello", "{answer}");
    }
    let missing = json!({"uri": "peer://nothing"});
    assert_eq!(legacy.ask("resources/read", missing.clone()).await.message()["error"]["code"], -32002);
    let none = json!({"name": "three__summarize"});
    assert_eq!(legacy.ask("prompts/get", none).await.message()["error"]["code"], -32602);
    assert_eq!(legacy.ask("logging/setLevel", json!({"level": "info"})).await.message()["result"], json!({}));
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
