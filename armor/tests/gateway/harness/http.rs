//! Plain HTTP, for what official clients do not let a test see.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use ::http::{HeaderMap, Method, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    /// The JSON-RPC message: the body, or the last event of a stream.
    pub fn message(&self) -> Value {
        let text = self.text();
        match text.lines().rev().find_map(|line| line.strip_prefix("data: ")) {
            Some(data) => serde_json::from_str(data).unwrap(),
            None => self.json(),
        }
    }
}

/// An answer that is read piece by piece.
pub struct Streamed {
    pub status: u16,
    body: Incoming,
    buffer: String,
}

impl Streamed {
    /// The next event's data; `None` at the end.
    pub async fn event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let data: Vec<&str> = event.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
                let data = data.join("\n");
                self.buffer = rest.to_owned();
                if !data.is_empty() {
                    return Some(data);
                }
                continue;
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame());
            let data = frame.await.expect("an event").and_then(Result::ok)?.into_data().ok()?;
            self.buffer += std::str::from_utf8(&data).unwrap();
        }
    }

    /// The next bytes, comments included; `None` at the end.
    pub async fn raw(&mut self, patience: Duration) -> Option<String> {
        let frame = tokio::time::timeout(patience, self.body.frame()).await.expect("bytes");
        Some(String::from_utf8(frame?.ok()?.into_data().ok()?.to_vec()).unwrap())
    }
}

/// One for each runtime: a connection belongs to the runtime that opened it.
fn client() -> Client<HttpConnector, Full<Bytes>> {
    thread_local! {
        static CLIENT: OnceLock<Client<HttpConnector, Full<Bytes>>> = const { OnceLock::new() };
    }
    CLIENT.with(|c| c.get_or_init(new_client).clone())
}

/// One whose connections nobody shares.
pub fn new_client() -> Client<HttpConnector, Full<Bytes>> {
    client_from(None)
}

/// The same, with an address of its own where one is given.
pub fn client_from(address: Option<IpAddr>) -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_local_address(address);
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(64).build(connector)
}

pub fn request(method: Method, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(body.into())).unwrap()
}

pub async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Reply, String> {
    let response = client().request(request(method, url, headers, body)).await.map_err(|e| format!("{e:?}"))?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| format!("{e:?}"))?.to_bytes();
    Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
}

pub async fn stream(method: Method, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Streamed {
    let response = client().request(request(method, url, headers, body)).await.unwrap();
    let (parts, body) = response.into_parts();
    Streamed { status: parts.status.as_u16(), body, buffer: String::new() }
}

pub async fn try_get(url: &str, headers: &[(&str, &str)]) -> Result<Reply, String> {
    send(Method::GET, url, headers, Bytes::new()).await
}

pub async fn get(url: &str, headers: &[(&str, &str)]) -> Reply {
    try_get(url, headers).await.unwrap()
}
