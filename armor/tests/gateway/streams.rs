//! Streams: passed on at once, kept alive, resumed.

use std::time::{Duration, Instant};

use ::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, Double, Seen, Step, event, events, manners};
use crate::harness::http;
use crate::harness::mcp::{Legacy, Modern};
use crate::harness::redis::Redis;

#[tokio::test]
async fn events_pass_one_by_one_and_silence_is_kept_alive() {
    let (go, gone) = tokio::sync::watch::channel(0);
    let server = double::of_eras(&["2025-11-25", "2026-07-28"], &["t"], move |_| {
        let gone = gone.clone();
        async move {
            let (sender, receiver) = tokio::sync::mpsc::channel::<Result<hyper::body::Frame<Bytes>, std::io::Error>>(1);
            let mut gone = gone;
            tokio::spawn(async move {
                for n in 1..=2 {
                    gone.wait_for(|go| *go >= n).await.unwrap();
                    let message = match n {
                        1 => json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"n": n}}),
                        _ => json!({"jsonrpc": "2.0", "id": 7, "result": {"content": []}}),
                    };
                    let event = Bytes::from(format!("data: {message}\n\n"));
                    sender.send(Ok(hyper::body::Frame::data(event))).await.unwrap();
                }
            });
            let frames = futures::stream::unfold(receiver, |mut r| async move { Some((r.recv().await?, r)) });
            let body = http_body_util::BodyExt::boxed_unsync(http_body_util::StreamBody::new(frames));
            ::http::Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
        }
    })
    .await;
    let config = Config::new().server_with("s", &server.url, json!({"timeout": "1m"}));
    let armor = Armor::start(&config).await;
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "s__t"}}).to_string();
    let client = Legacy::connect(&armor.url).await;
    let mut stream = client.post_stream(body).await;
    assert_eq!(stream.status, 200);
    go.send(1).unwrap();
    // It is here although the answer is not.
    assert!(stream.raw(Duration::from_secs(5)).await.unwrap().contains("\"n\":1"));
    let silent = Instant::now();
    let comment = stream.raw(Duration::from_secs(20)).await.unwrap();
    assert_eq!(comment, ": keep-alive\n\n");
    assert!((13..18).contains(&silent.elapsed().as_secs()), "{:?}", silent.elapsed());
    go.send(2).unwrap();
    assert!(stream.event().await.unwrap().contains("\"result\""));
    assert!(stream.event().await.is_none());
}

#[tokio::test]
async fn the_event_of_a_call_does_not_wait_for_the_end_of_the_stream() {
    let redis = Redis::start().await;
    let server = double::legacy(&["t"], |_| async {
        let answer = json!({"jsonrpc": "2.0", "id": 7, "result": {"content": []}});
        events(vec![event(answer), Step::Hang])
    })
    .await;
    let armor = Armor::start(&Config::new().server("s", &server.url).redis(&redis.url)).await;
    let client = Legacy::connect(&armor.url).await;
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "s__t"}}).to_string();
    let mut stream = client.post_stream(body).await;
    assert!(stream.event().await.unwrap().contains("\"result\""));
    let calls = redis.await_events("tool_call", 1).await;
    assert_eq!(calls[0]["status"], "success");
    assert!(calls[0]["response.bytes"].as_u64().unwrap() > 40, "{}", calls[0]);
    drop(stream);
}

#[tokio::test]
async fn a_silent_stream_of_armors_own_is_kept_alive() {
    let server = double::of_eras(&["2025-11-25", "2026-07-28"], &["t"], double::echo).await;
    let armor = Armor::start(&Config::new().server("s", &server.url)).await;
    let client = Legacy::connect(&armor.url).await;
    let (mut legacy, mut modern) =
        (client.listen().await, Modern::new(&armor.url).stream("subscriptions/listen", json!({})).await);
    legacy.raw(Duration::from_secs(5)).await.unwrap();
    modern.event().await.unwrap();
    let (one, two) = tokio::join!(legacy.raw(Duration::from_secs(20)), modern.raw(Duration::from_secs(20)));
    assert_eq!((one.unwrap().as_str(), two.unwrap().as_str()), (": keep-alive\n\n", ": keep-alive\n\n"));
}

#[tokio::test]
async fn the_rest_of_an_answer_that_is_fetched_elsewhere_concludes_the_call() {
    let redis = Redis::start().await;
    let server = Double::start(|request: Seen| async move {
        if request.http == Method::GET {
            let rest = match request.header("last-event-id") {
                Some("ev-1") => json!({"jsonrpc": "2.0", "id": 7, "result": {"content": [], "isError": true}}),
                other => panic!("resumes from {other:?}"),
            };
            return events(vec![event(rest), Step::Hang]);
        }
        match manners(&request, &["2025-11-25"], &["t"]) {
            Some(response) => response,
            // Sends the client away, to come back for the rest.
            None => events(vec![Step::Send("id: ev-1\nretry: 10\ndata:\n\n".into())]),
        }
    })
    .await;
    let config = Config::new().server_with("s", &server.url, json!({"prefix": ""})).redis(&redis.url);
    let armor = Armor::start(&config).await;
    let client = Legacy::connect(&armor.url).await;
    let reply = client.ask("tools/call", json!({"name": "t"})).await;
    assert_eq!(reply.text(), "id: ev-1\nretry: 10\ndata:\n\n");
    let mut headers = client.headers();
    headers.push(("last-event-id", "ev-1"));
    let mut rest = http::stream(Method::GET, &client.url, &headers, Bytes::new()).await;
    let answer: Value = serde_json::from_str(&rest.event().await.unwrap()).unwrap();
    assert_eq!(answer["id"], 7);
    let calls = redis.await_events("tool_call", 1).await;
    assert_eq!(calls.len(), 1);
    assert!(calls[0]["message"].as_str().unwrap().contains("the tool reported an error"), "{}", calls[0]);
}

#[tokio::test]
async fn what_a_caller_fetches_no_more_is_one_event_at_the_end() {
    let redis = Redis::start().await;
    let server = double::legacy(&["t"], |_| async { events(vec![Step::Send("id: ev-1\ndata:\n\n".into())]) }).await;
    let config = Config::new().server_with("s", &server.url, json!({"prefix": ""})).redis(&redis.url);
    let mut armor = Armor::start(&config).await;
    let client = Legacy::connect(&armor.url).await;
    client.ask("tools/call", json!({"name": "t"})).await;
    assert_eq!(armor.stop().await, 0);
    let calls = redis.await_events("tool_call", 1).await;
    assert_eq!((calls.len(), calls[0]["status"].as_str()), (1, Some("error")));
}

#[tokio::test]
async fn a_trace_goes_on_and_other_headers_do_not() {
    let redis = Redis::start().await;
    let server = double::of_eras(&["2026-07-28"], &["t"], double::echo).await;
    let armor = Armor::start(&Config::new().server("s", &server.url).redis(&redis.url)).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut headers = Modern::headers("tools/call", Some("s__t"));
    headers.extend([
        ("traceparent", trace),
        ("mcp-param-region", "eu"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "10.0.0.1"),
        ("authorization", "Bearer of-the-caller"),
    ]);
    let body = Modern::body("tools/call", json!({"name": "s__t", "arguments": {}}));
    let reply = http::send(Method::POST, &armor.url, &headers, body).await.unwrap();
    assert_eq!(reply.status, 200);
    let seen = &server.seen("tools/call")[0];
    assert_eq!(seen.header("mcp-param-region"), Some("eu"));
    let onward = seen.header("traceparent").unwrap();
    assert!(onward.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && onward != trace, "{onward}");
    for name in ["cookie", "x-forwarded-for", "authorization", "mcp-session-id"] {
        assert!(seen.header(name).is_none(), "{name}");
    }
    let call = &redis.await_events("tool_call", 1).await[0];
    assert_eq!(call["trace.id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(call["request.id"], reply.header("x-request-id").unwrap());
    assert_eq!((call["agent.name"].as_str(), call["agent.version"].as_str()), (Some("raw-modern"), Some("0.2")));
    assert!(call["duration.upstream_ms"].is_number() && call["duration.total_ms"].is_number());
}
