//! An HTTP server that answers as a test says, and knows which events a request holds.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A request.
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    /// Ids of its events, in their order: whatever the shape, they stand there as text.
    pub fn ids(&self) -> Vec<String> {
        const LENGTH: usize = 26;
        let mut plain = Vec::new();
        if self.headers.contains_key("content-encoding") {
            flate2::read::GzDecoder::new(&self.body[..]).read_to_end(&mut plain).unwrap();
        } else {
            plain.extend_from_slice(&self.body);
        }
        let first = crate::support::id(0);
        // What all of them begin with is the time.
        let begin = &first.as_bytes()[..10];
        let mut ids: Vec<String> = Vec::new();
        for at in 0..plain.len().saturating_sub(LENGTH - 1) {
            if plain[at..].starts_with(begin) {
                let id = String::from_utf8(plain[at..at + LENGTH].to_vec()).unwrap();
                if ids.last() != Some(&id) {
                    ids.push(id);
                }
            }
        }
        ids
    }
}

/// Gives the URL without a path. Ends with the test.
pub async fn serve(answer: impl Fn(Asked) -> BoxFuture<'static, (u16, String)> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let answer = answer.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let asked = Asked { path: head.uri.path().to_owned(), headers: head.headers, body };
                    let (status, text) = answer(asked).await;
                    let response = hyper::Response::builder().status(status).body(Full::new(Bytes::from(text)));
                    Ok::<_, hyper::Error>(response.unwrap())
                }
            });
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    url
}
