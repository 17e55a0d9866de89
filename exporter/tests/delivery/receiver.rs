//! A receiver of webhooks that answers as it is told: a double, because no real one fails on demand.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What is answered.
pub enum Answer {
    Status(u16, Vec<(&'static str, &'static str)>, Duration),
    /// Nothing, ever.
    Hang,
    /// This status, once it is allowed.
    Once(watch::Receiver<bool>, u16),
    /// The connection is closed.
    Close,
    /// A success with more in it than is read.
    Large,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), Duration::ZERO)
    }

    pub fn header(self, name: &'static str, value: &'static str) -> Self {
        match self {
            Self::Status(status, mut headers, after) => {
                headers.push((name, value));
                Self::Status(status, headers, after)
            }
            other => other,
        }
    }

    pub fn after(self, wait: Duration) -> Self {
        match self {
            Self::Status(status, headers, _) => Self::Status(status, headers, wait),
            other => other,
        }
    }
}

type Script = Box<dyn Fn(usize, &[String]) -> Answer + Send>;

struct Shared {
    script: Mutex<Script>,
    /// Ids of each request's events, and whether it was accepted.
    seen: watch::Sender<Vec<(Vec<String>, bool)>>,
    bodies: Mutex<Vec<Bytes>>,
}

pub struct Receiver {
    pub url: String,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Answers by the number of the request and the ids of its events.
    pub async fn start(script: impl Fn(usize, &[String]) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/hook", listener.local_addr().unwrap()).replace("https", "http");
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            seen: watch::Sender::default(),
            bodies: Mutex::default(),
        });
        let for_all = shared.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let shared = for_all.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(shared.clone(), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { url, shared }
    }

    pub fn answer_with(&self, script: impl Fn(usize, &[String]) -> Answer + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    pub fn requests(&self) -> usize {
        self.shared.seen.borrow().len()
    }

    pub async fn requests_reach(&self, count: usize) {
        let mut seen = self.shared.seen.subscribe();
        tokio::time::timeout(super::PATIENCE, seen.wait_for(|seen| seen.len() >= count)).await.unwrap().unwrap();
    }

    /// Of accepted requests, in the order in which they came.
    pub fn events(&self) -> Vec<String> {
        let seen = self.shared.seen.borrow();
        seen.iter().filter(|(_, accepted)| *accepted).flat_map(|(ids, _)| ids.clone()).collect()
    }

    pub fn accepted_ids(&self) -> BTreeSet<String> {
        self.events().into_iter().collect()
    }

    pub fn ids(&self) -> BTreeSet<String> {
        self.shared.seen.borrow().iter().flat_map(|(ids, _)| ids.clone()).collect()
    }

    /// As they came.
    pub fn bodies(&self) -> Vec<String> {
        let bodies = self.shared.bodies.lock().unwrap();
        bodies.iter().map(|body| String::from_utf8(body.to_vec()).unwrap()).collect()
    }

    pub fn largest_batch(&self) -> usize {
        self.shared.seen.borrow().iter().map(|(ids, _)| ids.len()).max().unwrap_or_default()
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, std::io::Error> {
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    shared.bodies.lock().unwrap().push(body.clone());
    let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
    // One event is the data itself, several are a list.
    let events = message["data"].as_array().cloned().unwrap_or_else(|| vec![message["data"].clone()]);
    let ids: Vec<String> = events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
    let number = shared.seen.borrow().len();
    let answer = (shared.script.lock().unwrap())(number, &ids);
    let accepted = matches!(answer, Answer::Status(200..300, ..) | Answer::Once(_, 200..300));
    shared.seen.send_modify(|seen| seen.push((ids, accepted)));
    match answer {
        Answer::Status(status, headers, wait) => {
            tokio::time::sleep(wait).await;
            let mut response = hyper::Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::default()).unwrap())
        }
        Answer::Hang => std::future::pending().await,
        Answer::Once(mut allowed, status) => {
            let _ = allowed.wait_for(|allowed| *allowed).await;
            Ok(hyper::Response::builder().status(status).body(Full::default()).unwrap())
        }
        Answer::Close => Err(std::io::Error::other("closed")),
        Answer::Large => Ok(hyper::Response::new(Full::new(Bytes::from(vec![b'x'; 1 << 20])))),
    }
}
