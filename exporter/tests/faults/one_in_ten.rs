//! A platform that takes one event in ten, and says so inside of an answer that is a success.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use testkit::redis_server::Server;
use tokio::net::TcpListener;

use crate::group::drained;
use crate::support::{Exporter, add, eventually, id, soc};

/// What a `_bulk` endpoint has seen.
#[derive(Default)]
struct Seen {
    /// How often each event came, from another number on for each.
    tries: BTreeMap<String, usize>,
    kept: BTreeSet<String>,
    /// Events that came again after they had been taken.
    again: usize,
}

/// One that refuses events of these ids for good.
async fn start(poison: BTreeSet<String>) -> (String, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let for_all = seen.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (seen, poison) = (for_all.clone(), poison.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| bulk(request, seen.clone(), poison.clone()));
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (url, seen)
}

async fn bulk(
    request: hyper::Request<Incoming>,
    seen: Arc<Mutex<Seen>>,
    poison: BTreeSet<String>,
) -> Result<hyper::Response<Full<Bytes>>, std::io::Error> {
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    let mut text = String::new();
    GzDecoder::new(&body[..]).read_to_string(&mut text)?;
    let mut seen = seen.lock().unwrap();
    let actions = text.lines().step_by(2).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let items: Vec<Value> = actions
        .map(|action| {
            let id = action["create"]["_id"].as_str().unwrap().to_owned();
            // Each at another one of its tries.
            let number = seen.tries.len();
            let tries = seen.tries.entry(id.clone()).or_insert(number);
            *tries += 1;
            let (status, error) = match *tries % 10 {
                _ if poison.contains(&id) => (400, Some("document_parsing_exception")),
                0 if !seen.kept.insert(id) => {
                    seen.again += 1;
                    (409, Some("version_conflict_engine_exception"))
                }
                0 => (201, None),
                _ => (429, Some("es_rejected_execution_exception")),
            };
            let mut result = json!({ "status": status });
            if let Some(error) = error {
                result["error"] = json!({"type": error, "reason": "planted"});
            }
            json!({ "create": result })
        })
        .collect();
    let answer = json!({"took": 1, "errors": true, "items": items}).to_string();
    Ok(hyper::Response::new(Full::from(answer)))
}

#[tokio::test]
async fn of_a_platform_that_takes_one_event_in_ten_each_is_taken_once_and_poison_is_counted() {
    const EVENTS: u64 = 120;
    let poison: BTreeSet<String> = [7, 77].into_iter().map(id).collect();
    let (url, seen) = start(poison.clone()).await;
    let redis = Server::running(&[]);
    let destination = json!({
        "name": "bulk",
        "platform": {"elasticsearch": {"url": url}},
        "secrets": {"secretRef": "hook"},
        "delivery": {"batchEvents": 40, "flushInterval": "20ms", "maxRetryInterval": "1s"},
    });
    let exporter = Exporter::start(&redis, "a", soc(json!([destination]))).await;
    drained(&exporter, &["soc/bulk"], 0).await;
    let ids = add(&redis, 0..EVENTS);
    let wanted = &ids - &poison;
    eventually("each is taken", async || seen.lock().unwrap().kept == wanted).await;
    let told = exporter.becomes("soc/bulk", "backlog", json!(0)).await;
    let refused = poison.len() as u64;
    assert_eq!((&told["delivered"], &told["dead"]), (&json!(EVENTS - refused), &json!(refused)));
    assert_eq!((&told["lost"], &told["possiblyLost"]), (&json!(0), &json!(0)));
    assert_eq!(seen.lock().unwrap().again, 0, "what was taken was not sent again");
}
