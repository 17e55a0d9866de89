//! Servers that fail, each in its way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::armor::{Armor, Config};
use crate::harness::double::{
    self, Double, Seen, Step, event, events, json_text, manners, result, status, steps, text,
};
use crate::harness::eventually;
use crate::harness::mcp::{Legacy, Modern};
use crate::harness::redis::Redis;

const TOOLS: &[&str] = &["t"];

/// What a call becomes when the server fails in a certain way.
async fn call_becomes(armor: &Armor, server: &str) -> Value {
    let client = Legacy::connect(&armor.url).await;
    client.call(&format!("{server}__t"), json!({})).await
}

#[tokio::test]
async fn every_fault_of_a_call_is_an_error_that_the_caller_can_read() {
    let redis = Redis::start().await;
    let garbage = double::legacy(TOOLS, |_| async { text(200, "text/html", "<html>") }).await;
    let wrong_id = double::legacy(TOOLS, |_| async { json_text(r#"{"jsonrpc":"2.0","id":"x","result":{}}"#) }).await;
    let cut = double::legacy(TOOLS, |_| async { json_text(r#"{"jsonrpc":"2.0","id":7,"result":"#) }).await;
    let down = double::legacy(TOOLS, |_| async { status(503) }).await;
    let moved = double::legacy(TOOLS, |_| async { status(307) }).await;
    let denies = double::legacy(TOOLS, |_| async { text(401, "application/json", "{}") }).await;
    let hangs = double::legacy(TOOLS, |_| std::future::pending()).await;
    let silent = double::legacy(TOOLS, |_| async {
        events(vec![event(json!({"jsonrpc": "2.0", "method": "notifications/x"})), Step::Hang])
    })
    .await;
    let dies =
        double::legacy(TOOLS, |_| async { events(vec![Step::Send("data: {\"jsonrpc\":".into()), Step::Die]) }).await;
    let ends = double::legacy(TOOLS, |_| async { events(vec![]) }).await;
    let mut config = Config::new().redis(&redis.url);
    let servers = [
        ("garbage", &garbage, 502, "ProtocolError", "protocol"),
        ("wrong-id", &wrong_id, 502, "ProtocolError", "protocol"),
        ("cut", &cut, 502, "ProtocolError", "protocol"),
        ("down", &down, 502, "HttpError", "http"),
        ("moved", &moved, 502, "HttpError", "http"),
        ("denies", &denies, 502, "OutboundAuthFailed", "http"),
        ("hangs", &hangs, 504, "Timeout", "timeout"),
        ("silent", &silent, 504, "Timeout", "timeout"),
        ("dies", &dies, 502, "ConnectFailed", "connect"),
        ("ends", &ends, 502, "ProtocolError", "protocol"),
    ];
    for (name, server, ..) in &servers {
        config = config.server_with(name, &server.url, json!({"timeout": "600ms"}));
    }
    let armor = Armor::start(&config).await;
    for (name, _, code, cause, _) in &servers {
        let answer = call_becomes(&armor, name).await;
        let error = &answer["error"];
        assert_eq!(answer["id"], 7, "{name}: {answer}");
        assert_eq!(error["code"], *code, "{name}: {answer}");
        assert_eq!(error["data"]["cause"], *cause, "{name}: {answer}");
        assert_eq!(error["data"]["server"], *name, "{name}: {answer}");
        assert!(error["message"].as_str().unwrap().contains(": "), "{name}: has no remedy: {answer}");
    }
    let calls = redis.await_events("tool_call", servers.len()).await;
    assert_eq!(calls.len(), servers.len());
    for (name, _, code, ..) in &servers {
        let call = calls.iter().find(|c| c["mcp.server_name"] == *name).unwrap();
        assert_eq!(call["status"], "error", "{call}");
        assert_eq!(call["rpc.error_code"], *code, "{call}");
        assert_eq!(call["http.status_code"], 200, "{call}");
    }
    let errors = redis.await_events("upstream_error", servers.len()).await;
    for (name, .., cause) in &servers {
        let error = errors.iter().find(|e| e["mcp.server_name"] == *name).unwrap();
        assert_eq!(error["upstream.cause"], *cause, "{error}");
    }
}

#[tokio::test]
async fn every_fault_of_a_handshake_has_a_reason_and_a_remedy() {
    let garbage = Double::start(|_| async { text(200, "text/html", "<html>login</html>") }).await;
    let denies = Double::start(|_| async { status(401) }).await;
    let missing = Double::start(|_| async { status(404) }).await;
    let broken = Double::start(|_| async { status(500) }).await;
    let moved = Double::start(|_| async { status(302) }).await;
    let hangs = Double::start(|_| std::future::pending()).await;
    let plain = Double::start(|_| async { status(200) }).await;
    let no_tls = plain.url.replace("http://", "https://");
    let short = json!({"timeout": "500ms"});
    let config = Config::new()
        .secret("empty", "\n")
        .server("garbage", &garbage.url)
        .server("denies", &denies.url)
        .server("missing", &missing.url)
        .server("broken", &broken.url)
        .server("moved", &moved.url)
        .server_with("hangs", &hangs.url, short)
        .server("nobody", "http://127.0.0.1:9/mcp")
        .server("nowhere", "http://no-such-host.invalid/mcp")
        .server("plain", &no_tls)
        .server_with("no-token", &plain.url, json!({"auth": {"bearer": {"tokenFile": "no-such-file"}}}))
        .server_with(
            "empty-token",
            &plain.url,
            json!({"auth": {"headers": [{"name": "X-Key", "valueFile": "empty"}]}}),
        );
    let armor = Armor::start(&config).await;
    for (name, reason) in [
        ("garbage", "ProtocolError"),
        ("denies", "OutboundAuthFailed"),
        ("missing", "HttpError"),
        ("broken", "HttpError"),
        ("moved", "HttpError"),
        ("hangs", "Timeout"),
        ("nobody", "ConnectFailed"),
        ("nowhere", "ConnectFailed"),
        ("plain", "TlsFailed"),
        ("no-token", "CredentialMissing"),
        ("empty-token", "CredentialMissing"),
    ] {
        let server = armor.server(name).await;
        assert_eq!(server["state"], "Failed", "{server}");
        assert_eq!(server["reason"], reason, "{server}");
        assert_eq!(server["eras"], json!([]), "{server}");
        assert!(server["message"].as_str().unwrap().contains(": "), "has no remedy: {server}");
        assert!(server["lastSuccessTime"].is_null(), "{server}");
    }
    assert_eq!(armor.metric("armor_server_ready{server=\"garbage\"}").await, 0.0);
}

#[tokio::test]
async fn probes_of_a_failing_server_become_rare_and_it_comes_back() {
    let (mend, mended) = tokio::sync::watch::channel(false);
    let server = Double::start(move |request| {
        let up = *mended.borrow();
        async move { if up { manners(&request, &["2025-11-25"], TOOLS).unwrap() } else { status(500) } }
    })
    .await;
    let armor = Armor::start(&Config::new().server("s", &server.url)).await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    // At 0 s, about 1 s and about 3 s; twice as many requests, one for each era.
    let probes = server.seen.lock().unwrap().len();
    assert!((4..=8).contains(&probes), "{probes} requests in 3.5 s");
    mend.send(true).unwrap();
    eventually("ready", async || (armor.server("s").await["state"] == "Ready").then_some(())).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_request_to_the_server() {
    let redis = Redis::start().await;
    let server = double::legacy(TOOLS, |request: Seen| async move {
        match request.json()["params"]["arguments"]["stream"] == json!(true) {
            true => events(vec![event(json!({"jsonrpc": "2.0", "method": "notifications/x"})), Step::Hang]),
            false => std::future::pending().await,
        }
    })
    .await;
    let config = Config::new().server_with("s", &server.url, json!({"timeout": "5m"})).redis(&redis.url);
    let armor = Armor::start(&config).await;
    let client = Legacy::connect(&armor.url).await;
    for stream in [false, true] {
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": {"name": "s__t", "arguments": {"stream": stream}}})
        .to_string();
        {
            let call = client.post(body);
            tokio::pin!(call);
            eventually("the server has the request", async || {
                let _ = tokio::time::timeout(Duration::from_millis(10), &mut call).await;
                (server.open.load(Ordering::SeqCst) == 1).then_some(())
            })
            .await;
        }
        eventually("the server's request is cancelled", async || {
            (server.open.load(Ordering::SeqCst) == 0).then_some(())
        })
        .await;
    }
    let calls = redis.await_events("tool_call", 2).await;
    for call in &calls {
        assert_eq!(call["status"], "error");
        assert!(call["message"].as_str().unwrap().contains("disconnected"), "{call}");
    }
}

#[tokio::test]
async fn answers_that_are_too_large_end_and_large_ones_pass() {
    let redis = Redis::start().await;
    let server = double::legacy(TOOLS, |request: Seen| async move {
        let size = request.json()["params"]["arguments"]["size"].as_u64().unwrap() as usize;
        let kind = request.json()["params"]["arguments"]["kind"].clone();
        let text = "x".repeat(size);
        match kind.as_str().unwrap() {
            "json" => result(&request, json!({"content": [{"type": "text", "text": text}], "isError": true})),
            _ => events(vec![event(
                json!({"jsonrpc": "2.0", "id": 7, "result": {"content": [{"type": "text", "text": text}]}}),
            )]),
        }
    })
    .await;
    let armor =
        Armor::start(&Config::new().server_with("s", &server.url, json!({"timeout": "1m"})).redis(&redis.url)).await;
    let client = Legacy::connect(&armor.url).await;
    for (kind, status) in [("json", "error"), ("sse", "success")] {
        let arguments = json!({"kind": kind, "size": 8 << 20});
        let answer = client.call("s__t", arguments).await;
        let text = answer["result"]["content"][0]["text"].as_str();
        assert_eq!(text.map(str::len), Some(8 << 20), "{kind}: {}", answer["error"]);
        let calls = redis.await_events("tool_call", if kind == "json" { 1 } else { 2 }).await;
        assert_eq!(calls.last().unwrap()["status"], status, "{kind}");
        assert!(calls.last().unwrap()["response.bytes"].as_u64().unwrap() > 8 << 20);
    }
    let arguments = json!({"name": "s__t", "arguments": {"kind": "json", "size": 17 << 20}});
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": arguments}).to_string();
    let broken = crate::harness::http::send(::http::Method::POST, &armor.url, &client.headers(), body).await;
    assert!(broken.is_err(), "a JSON answer of 17 MiB ends");
    let answer = client.call("s__t", json!({"kind": "sse", "size": 17 << 20})).await;
    assert_eq!(answer["error"]["code"], 502, "{}", answer["error"]);
    let calls = redis.await_events("tool_call", 4).await;
    assert!(calls[3]["message"].as_str().unwrap().contains("larger"), "{}", calls[3]);
}

#[tokio::test]
async fn messages_that_are_none_are_refused_and_large_ones_too() {
    let redis = Redis::start().await;
    let server = double::of_eras(&["2025-11-25", "2026-07-28"], TOOLS, double::echo).await;
    let armor = Armor::start(&Config::new().server("s", &server.url).redis(&redis.url)).await;
    let client = Legacy::connect(&armor.url).await;
    for (body, status, code) in [
        ("{", 400, -32700),
        ("[]", 400, -32600),
        ("{}", 400, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#, 400, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#, 200, -32601),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#, 200, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}"#, 200, -32602),
    ] {
        let reply = client.post(body).await;
        assert_eq!((reply.status, reply.json()["error"]["code"].as_i64()), (status, Some(code)), "{body}");
    }
    let large = "x".repeat((4 << 20) + 1);
    assert_eq!(client.post(large).await.status, 413);
    let reply = Modern::new(&armor.url).ask("no/such", json!({})).await;
    assert_eq!((reply.status, reply.json()["error"]["code"].as_i64()), (404, Some(-32601)));
    // A call whose headers say something else is one blocked event.
    let headers = Modern::headers("tools/call", Some("s__other"));
    let body = Modern::body("tools/call", json!({"name": "s__t"}));
    let reply = crate::harness::http::send(::http::Method::POST, &armor.url, &headers, body).await.unwrap();
    assert_eq!((reply.status, reply.json()["error"]["code"].as_i64()), (400, Some(-32020)));
    let calls = redis.await_events("tool_call", 2).await;
    let blocked = calls.iter().find(|c| c["http.status_code"] == 400).unwrap();
    assert_eq!((blocked["status"].as_str(), blocked["action.reason"].as_str()), (Some("blocked"), Some("bad_request")));
    assert!(server.seen("tools/call").is_empty());
}

#[tokio::test]
async fn a_large_answer_that_breaks_off_is_an_error_in_the_trail() {
    let redis = Redis::start().await;
    let server = double::legacy(TOOLS, |_| async {
        let start = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"x":"{}"#, "y".repeat(200_000));
        steps("application/json", vec![Step::Send(start), Step::Die])
    })
    .await;
    let armor = Armor::start(&Config::new().server("s", &server.url).redis(&redis.url)).await;
    let client = Legacy::connect(&armor.url).await;
    let body = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"s__t"}}"#;
    let broken = crate::harness::http::send(::http::Method::POST, &armor.url, &client.headers(), body).await;
    assert!(broken.is_err());
    let call = &redis.await_events("tool_call", 1).await[0];
    assert_eq!(call["status"], "error", "{call}");
}

#[tokio::test]
async fn a_server_whose_list_is_too_large_fails_with_a_reason() {
    let server = Double::start(|request: Seen| async move {
        if request.method() != "tools/list" {
            return manners(&request, &["2025-11-25"], TOOLS).unwrap();
        }
        let page = request.json()["params"]["cursor"].as_str().map_or(0, |c| c.parse::<u32>().unwrap());
        let tool = json!({"name": format!("t{page}"), "description": "x".repeat(5 << 20), "inputSchema": {}});
        result(&request, json!({"tools": [tool], "nextCursor": (page + 1).to_string()}))
    })
    .await;
    let armor = Armor::start(&Config::new().server("s", &server.url)).await;
    let seen = armor.server("s").await;
    assert_eq!((&seen["state"], &seen["reason"]), (&json!("Failed"), &json!("ProtocolError")), "{seen}");
    assert!(seen["message"].as_str().unwrap().contains("tools/list"), "{seen}");
    assert_eq!(server.seen("tools/list").len(), 4);
}

#[tokio::test]
async fn one_odd_answer_does_not_take_an_era_away_and_two_do() {
    let odd: &'static AtomicUsize = Box::leak(Box::default());
    let server = Double::start(move |request: Seen| async move {
        if request.method() == "tools/call" {
            return std::future::pending().await;
        }
        let discover = request.method() == "server/discover";
        if discover && odd.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return text(200, "text/html", "<html>");
        }
        manners(&request, &["2025-11-25", "2026-07-28"], TOOLS).unwrap()
    })
    .await;
    let armor = Armor::start(&Config::new().server_with("s", &server.url, json!({"timeout": "500ms"}))).await;
    let eras = async || armor.server("s").await["eras"].as_array().unwrap().len();
    for (answers, left) in [(1, 2), (2, 1)] {
        assert_eq!(eras().await, 2);
        let before = server.seen("server/discover").len();
        odd.store(answers, Ordering::SeqCst);
        // A call that times out has the server probed at once; a probe that is unsure is soon followed by another.
        assert_eq!(call_becomes(&armor, "s").await["error"]["data"]["cause"], "Timeout");
        let asked = async || (server.seen("server/discover").len() >= before + 2).then_some(());
        eventually("the server was probed twice", asked).await;
        eventually("the result is in", async || (eras().await == left).then_some(())).await;
    }
}
