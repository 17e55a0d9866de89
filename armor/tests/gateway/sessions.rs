//! Sessions of legacy clients: every replica serves every one of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::Method;
use serde_json::{Value, json};

use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, Double, Seen, Step, event, events, manners, result, status};
use crate::harness::eventually;
use crate::harness::mcp::Legacy;
use crate::harness::redis::Redis;

/// A server that gives each session a number and knows only those that it gave.
async fn strict() -> (Double, &'static AtomicUsize) {
    static NEVER: &str = "2025-11-25";
    let opened: &'static AtomicUsize = Box::leak(Box::new(AtomicUsize::new(0)));
    let forgotten: &'static AtomicUsize = Box::leak(Box::new(AtomicUsize::new(0)));
    let server = Double::start(move |request: Seen| async move {
        if request.method() == "initialize" {
            let id = opened.fetch_add(1, Ordering::SeqCst) + 1;
            let mut response = manners(&request, &[NEVER], &["t"]).unwrap();
            response.headers_mut().insert("mcp-session-id", id.to_string().parse().unwrap());
            return response;
        }
        let session: usize = request.header("mcp-session-id").map_or(0, |s| s.parse().unwrap());
        if session == 0 || session <= forgotten.load(Ordering::SeqCst) {
            return double::text(
                404,
                "application/json",
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#,
            );
        }
        if request.method() == "forget" {
            forgotten.store(opened.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        match manners(&request, &[NEVER], &["t"]) {
            Some(response) => response,
            None => result(&request, json!({"content": [], "session": session})),
        }
    })
    .await;
    (server, opened)
}

#[tokio::test]
async fn a_session_moves_between_replicas_and_survives_the_death_of_one() {
    let (server, _) = strict().await;
    for prefix in ["", "s"] {
        let config = Config::new().server_with("s", &server.url, json!({"prefix": prefix}));
        let tool = if prefix.is_empty() { "t" } else { "s__t" };
        let mut one = Armor::start(&config).await;
        let two = Armor::start(&config.replica()).await;
        let mut client = Legacy::connect(&one.url).await;
        let first = client.call(tool, json!({})).await["result"]["session"].clone();
        assert!(first.is_u64());
        client.url.clone_from(&two.url);
        let second = client.call(tool, json!({})).await["result"]["session"].clone();
        // With one server its session goes with the client; with several each replica has its own.
        assert_eq!(first == second, prefix.is_empty());
        one.kill();
        assert_eq!(client.call(tool, json!({})).await["result"]["session"], second);
    }
}

#[tokio::test]
async fn another_pool_does_not_accept_the_session() {
    let (server, _) = strict().await;
    let one = Armor::start(&Config::new().server("s", &server.url)).await;
    let other = Config::new().server("s", &server.url).secret("hash-key", "another-key-of-32-bytes-length-x");
    let two = Armor::start(&other).await;
    let mut client = Legacy::connect(&one.url).await;
    client.url.clone_from(&two.url);
    let reply = client.ask("tools/list", json!({})).await;
    assert_eq!(reply.status, 404);
    client.session = "nonsense".to_owned();
    assert_eq!(client.ask("tools/list", json!({})).await.status, 404);
    client.session.clear();
    assert_eq!(client.ask("tools/list", json!({})).await.status, 400);
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_opened_again() {
    let (server, opened) = strict().await;
    let redis = Redis::start().await;
    for prefix in ["", "s"] {
        let config = Config::new().server_with("s", &server.url, json!({"prefix": prefix})).redis(&redis.url);
        let tool = if prefix.is_empty() { "t" } else { "s__t" };
        let mut armor = Armor::start(&config).await;
        let client = Legacy::connect(&armor.url).await;
        let first = client.call(tool, json!({})).await["result"]["session"].as_u64().unwrap();
        let newest = opened.load(Ordering::SeqCst).to_string();
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"forget"}"#;
        let headers = [("content-type", "application/json"), ("mcp-session-id", newest.as_str())];
        crate::harness::http::send(Method::POST, &server.url, &headers, body).await.unwrap();
        let second = client.call(tool, json!({})).await["result"]["session"].as_u64().unwrap();
        assert!(second > first, "{prefix:?}");
        assert_eq!(armor.stop().await, 0);
    }
    let calls = redis.await_events("tool_call", 4).await;
    assert_eq!(calls.len(), 4);
    assert!(calls.iter().all(|c| c["status"] == "success"));
}

#[tokio::test]
async fn the_end_of_a_session_ends_the_sessions_with_servers() {
    let (server, _) = strict().await;
    let armor = Armor::start(&Config::new().server("s", &server.url)).await;
    let client = Legacy::connect(&armor.url).await;
    let own = client.call("s__t", json!({})).await["result"]["session"].as_u64().unwrap().to_string();
    assert_eq!(client.delete().await.status, 200);
    assert_eq!(client.ask("tools/list", json!({})).await.status, 404);
    assert_eq!(client.delete().await.status, 404);
    let seen = server.seen.lock().unwrap().clone();
    assert!(seen.iter().any(|r| r.http == Method::DELETE && r.header("mcp-session-id") == Some(own.as_str())));
    // Without a session there is nothing to get or delete.
    let plain = crate::harness::http::send(Method::GET, &armor.url, &[], "").await.unwrap();
    assert_eq!(plain.status, 405);
}

#[tokio::test]
async fn a_session_that_was_ended_at_one_replica_is_over_at_the_others() {
    let (server, _) = strict().await;
    let redis = Redis::start().await;
    let config = Config::new().server("s", &server.url).redis(&redis.url);
    let one = Armor::start(&config).await;
    let two = Armor::start(&config.replica()).await;
    let mut client = Legacy::connect(&one.url).await;
    client.url.clone_from(&two.url);
    let own = client.call("s__t", json!({})).await["result"]["session"].as_u64().unwrap().to_string();
    client.url.clone_from(&one.url);
    assert_eq!(client.delete().await.status, 200);
    let refuses = async |client: &Legacy| {
        let refused = async || (client.ask("tools/list", json!({})).await.status == 404).then_some(());
        eventually("another replica refuses the session", refused).await;
    };
    client.url.clone_from(&two.url);
    refuses(&client).await;
    let closed = |r: &Seen| r.http == Method::DELETE && r.header("mcp-session-id") == Some(own.as_str());
    let is_closed = async || server.seen.lock().unwrap().iter().any(closed).then_some(());
    eventually("the session that the other replica opened is closed", is_closed).await;
    // One that starts later knows too.
    let three = Armor::start(&config.replica()).await;
    client.url.clone_from(&three.url);
    refuses(&client).await;
}

#[tokio::test]
async fn a_session_survives_a_rotation_of_the_key_and_reloads_after_it() {
    let (server, _) = strict().await;
    let armor = Armor::start(&Config::new().server("s", &server.url)).await;
    let client = Legacy::connect(&armor.url).await;
    armor.replace(&armor.secret_file("hash-key"), "another-key-of-32-bytes-length-x");
    let next = async |revision: &str| {
        let text = std::fs::read_to_string(armor.config_file()).unwrap();
        let mut yaml: Value = serde_json::from_str(&text).unwrap();
        yaml["revision"] = revision.into();
        armor.replace(&armor.config_file(), &yaml.to_string());
        let loaded = async || (armor.admin("/config").await["revision"] == revision).then_some(());
        eventually(&format!("revision {revision} is in use"), loaded).await;
        assert_eq!(client.ask("tools/list", json!({})).await.status, 200, "{revision}");
    };
    next("r2").await;
    next("r3").await;
}

#[tokio::test]
async fn calls_that_wait_for_the_session_of_a_server_that_hangs_fail_together() {
    let of_a_caller = |request: &Seen| {
        request.method() == "initialize" && request.json()["params"]["clientInfo"]["name"] == "raw-client"
    };
    // It answers the probe, which has a session of its own.
    let server = Double::start(move |request: Seen| async move {
        match of_a_caller(&request) {
            true => std::future::pending().await,
            false => manners(&request, &["2025-11-25"], &["t"]).unwrap(),
        }
    })
    .await;
    let armor = Armor::start(&Config::new().server_with("s", &server.url, json!({"timeout": "2s"}))).await;
    let client = Legacy::connect(&armor.url).await;
    let calls = (0..5).map(|_| client.call("s__t", json!({})));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer["error"]["data"]["cause"], "Timeout", "{answer}");
    }
    assert_eq!(server.seen("initialize").iter().filter(|r| of_a_caller(r)).count(), 1);
}

#[tokio::test]
async fn answers_under_an_error_status_reach_a_legacy_caller_and_end_no_session() {
    // 404 in a session: it is lost. Anything else that answers the request is an answer.
    let server = Double::start(|request: Seen| async move {
        let error = |status| {
            let error =
                json!({"jsonrpc": "2.0", "id": request.json()["id"], "error": {"code": -32050, "message": "x"}});
            double::text(status, "application/json", error.to_string())
        };
        match request.json()["params"]["arguments"]["status"].as_u64() {
            Some(status) => error(u16::try_from(status).unwrap()),
            None => manners(&request, &["2025-11-25"], &["t"]).unwrap(),
        }
    })
    .await;
    let armor = Armor::start(&Config::new().server("s", &server.url)).await;
    let client = Legacy::connect(&armor.url).await;
    for (status, tries, code) in [(400, 1, -32050), (409, 1, -32050), (429, 1, -32050), (404, 2, 502)] {
        let before = server.seen("tools/call").len();
        let reply = client.ask("tools/call", json!({"name": "s__t", "arguments": {"status": status}})).await;
        assert_eq!((reply.status, reply.json()["error"]["code"].as_i64()), (200, Some(code)), "{status}");
        assert_eq!(server.seen("tools/call").len() - before, tries, "{status}");
        assert_eq!(client.ask("ping", json!({})).await.status, 200, "after {status}");
    }
}

#[tokio::test]
async fn what_a_server_asks_within_a_call_finds_its_way_back() {
    // Two servers that ask with the same id at the same time.
    let answers: &'static std::sync::Mutex<Vec<(String, Value)>> = Box::leak(Box::default());
    let server = async |name: &'static str| {
        let (tell, told) = tokio::sync::watch::channel(false);
        let tell = std::sync::Arc::new(tell);
        Double::start(move |request: Seen| {
            let (tell, mut told) = (tell.clone(), told.clone());
            async move {
                let message = request.json();
                if message["method"].is_null() && !request.body.is_empty() {
                    answers.lock().unwrap().push((name.to_owned(), message));
                    tell.send(true).unwrap();
                    return status(202);
                }
                if let Some(response) = manners(&request, &["2025-11-25"], &["ask"]) {
                    return response;
                }
                if message["params"]["arguments"]["wait"] == json!(true) {
                    told.wait_for(|told| *told).await.unwrap();
                    return result(&request, json!({"content": []}));
                }
                events(vec![
                    event(
                        json!({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {"message": name}}),
                    ),
                    Step::Hang,
                ])
            }
        })
        .await
    };
    let (a, b) = (server("a").await, server("b").await);
    let config = Config::new().server("a", &a.url).server("b", &b.url);
    let one = Armor::start(&config).await;
    let two = Armor::start(&config.replica()).await;
    let mut client = Legacy::connect(&one.url).await;
    for name in ["a", "b"] {
        let body = json!({"jsonrpc": "2.0", "id": name, "method": "tools/call",
            "params": {"name": format!("{name}__ask"), "arguments": {}}});
        let mut call = client.post_stream(body.to_string()).await;
        let asked: Value = serde_json::from_str(&call.event().await.unwrap()).unwrap();
        assert_eq!(asked["params"]["message"], name);
        assert_ne!(asked["id"], 1);
        // Answered through the other replica.
        client.url.clone_from(&two.url);
        let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept", "by": name}});
        assert_eq!(client.post(answer.to_string()).await.status, 202);
        client.url.clone_from(&one.url);
    }
    let got = answers.lock().unwrap().clone();
    assert_eq!(got.len(), 2);
    for (name, message) in got {
        assert_eq!(message["id"], 1);
        assert_eq!(message["result"]["by"], name.as_str());
    }
    // One that nobody asked for goes nowhere.
    let stray = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    assert_eq!(client.post(stray.to_string()).await.status, 202);
    assert_eq!(answers.lock().unwrap().len(), 2);
}
