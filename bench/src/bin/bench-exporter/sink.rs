//! The receiver: answers as each platform documents, and does no more with a body than keep it. What is in the bodies is
//! looked at when the measurement is over.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::events::numbers;

/// One request.
pub struct Received {
    /// When all of it was here.
    pub at: Instant,
    /// Second part of its path.
    pub destination: String,
    /// As it was sent.
    body: Bytes,
    compressed: bool,
}

/// Receives.
pub struct Sink {
    port: u16,
    kept: Arc<Mutex<Vec<Received>>>,
    arrived: watch::Receiver<usize>,
    /// Ends with the sink.
    _task: JoinSet<()>,
}

impl Sink {
    /// One that listens.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (arrivals, arrived) = watch::channel(0);
        let mut task = JoinSet::new();
        task.spawn(serve(listener, kept.clone(), Arc::new(arrivals)));
        Ok(Self { port, kept, arrived, _task: task })
    }

    /// Where a destination of this kind sends to.
    pub fn url(&self, kind: &str, destination: &str) -> String {
        format!("http://127.0.0.1:{}/{kind}/{destination}", self.port)
    }

    /// How many requests came so far, for those who wait for the next.
    pub fn arrived(&self) -> watch::Receiver<usize> {
        self.arrived.clone()
    }

    /// What came since the last time.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Received {
    /// The body, decompressed.
    pub fn content(&self) -> Result<Vec<u8>> {
        content(&self.body, self.compressed)
    }

    /// The numbers of its events.
    pub fn numbers(&self) -> Result<Vec<u64>> {
        Ok(numbers(&self.content()?))
    }

    /// Bytes on the wire.
    pub fn sent_bytes(&self) -> usize {
        self.body.len()
    }
}

fn content(body: &Bytes, compressed: bool) -> Result<Vec<u8>> {
    if !compressed {
        return Ok(body.to_vec());
    }
    let mut content = Vec::with_capacity(body.len() * 6);
    MultiGzDecoder::new(&body[..]).read_to_end(&mut content)?;
    Ok(content)
}

async fn serve(listener: TcpListener, kept: Arc<Mutex<Vec<Received>>>, arrivals: Arc<watch::Sender<usize>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let (kept, arrivals) = (kept.clone(), arrivals.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let (kept, arrivals) = (kept.clone(), arrivals.clone());
                        async move { Ok::<_, Infallible>(receive(request, &kept, &arrivals).await) }
                    });
                    // Who ends a connection in the middle is the one who is measured.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn receive(
    request: Request<Incoming>,
    kept: &Mutex<Vec<Received>>,
    arrivals: &watch::Sender<usize>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return answer(StatusCode::BAD_REQUEST, "") };
    let body = body.to_bytes();
    let mut parts = head.uri.path().split('/').skip(1);
    let (kind, destination) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let compressed = is_gzip(&head.headers);
    let answer = match kind {
        "splunk" => answer(StatusCode::OK, r#"{"text":"Success","code":0}"#),
        "datadog" => answer(StatusCode::ACCEPTED, "{}"),
        "elasticsearch" => created(&body, compressed),
        _ => answer(StatusCode::OK, ""),
    };
    let received = Received { at: Instant::now(), destination: destination.to_owned(), body, compressed };
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    arrivals.send_modify(|count| *count += 1);
    answer
}

fn is_gzip(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes() == b"gzip")
}

/// `_bulk` answers for each event, which has two lines.
fn created(body: &Bytes, compressed: bool) -> Response<Full<Bytes>> {
    let Ok(content) = content(body, compressed) else { return answer(StatusCode::BAD_REQUEST, "") };
    let events = content.iter().filter(|byte| **byte == b'\n').count() / 2;
    let items = vec![r#"{"create":{"status":201}}"#; events].join(",");
    answer(StatusCode::OK, format!(r#"{{"items":[{items}]}}"#))
}

fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

/// The events of some requests.
pub struct Deliveries {
    /// Each event of each destination once.
    pub distinct: usize,
    /// Those that came again.
    pub repeated: usize,
    /// Bytes on the wire.
    pub sent_bytes: usize,
    /// Bytes of all bodies before compression.
    pub content_bytes: usize,
    /// Deliveries a second: from the first request until nine tenths were here, so that the end, when the last ones are
    /// alone, does not count.
    pub rate: f64,
    /// By destination: the numbers, sorted.
    pub by_destination: HashMap<String, Vec<u64>>,
}

/// Looks at all of them.
pub fn deliveries(mut received: Vec<Received>) -> Result<Deliveries> {
    received.sort_by_key(|received| received.at);
    let mut by_destination: HashMap<String, Vec<u64>> = HashMap::new();
    let (mut counts, mut sent_bytes, mut content_bytes) = (Vec::new(), 0, 0);
    for request in &received {
        let content = request.content()?;
        let numbers = numbers(&content);
        counts.push((request.at, numbers.len()));
        sent_bytes += request.sent_bytes();
        content_bytes += content.len();
        by_destination.entry(request.destination.clone()).or_default().extend(numbers);
    }
    let all: usize = counts.iter().map(|(_, count)| count).sum();
    for numbers in by_destination.values_mut() {
        numbers.sort_unstable();
        numbers.dedup();
    }
    let distinct = by_destination.values().map(Vec::len).sum();
    Ok(Deliveries {
        distinct,
        repeated: all - distinct,
        sent_bytes,
        content_bytes,
        rate: rate(&counts, all),
        by_destination,
    })
}

fn rate(counts: &[(Instant, usize)], all: usize) -> f64 {
    let Some((first, of_first)) = counts.first() else { return 0.0 };
    let mut sum = 0;
    for (at, count) in counts {
        sum += count;
        if sum * 10 >= all * 9 {
            // What the first request brought was made before its time began.
            return (sum - of_first) as f64 / at.duration_since(*first).as_secs_f64().max(1e-3);
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_is_of_the_first_nine_tenths() {
        let begin = Instant::now();
        let mut counts: Vec<_> = (0..10).map(|i| (begin + Duration::from_secs(i), 100)).collect();
        counts[9].0 += Duration::from_secs(60);
        assert_eq!(rate(&counts, 1_000), 100.0);
    }
}
