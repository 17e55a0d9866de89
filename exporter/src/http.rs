//! The one place that speaks HTTP: sends a [`Request`], reads the whole answer.
//!
//! Promises: no redirect is followed and no proxy of the environment is used; the address that is connected to is one
//! that [`crate::connect`] allows; one limit holds for all of an attempt, from the name's resolution to the answer's
//! last byte; an answer takes at most [`MAX_ANSWER_BYTES`] and half of what was sent, compressed and decompressed. Must never let a
//! text of the server or a URL out in an error.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use crate::address::Policy;
use crate::answer::Answer;
use crate::cause::Cause;
use crate::connect::{Connector, Way};
use crate::destination::Request;
use crate::tls;

/// The most that is read of an answer, beyond half the bytes of its request: the longest that a platform documents is one
/// verdict for each event of a batch.
pub const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Shorter than the 60 s after which common load balancers close an idle connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// All requests of HTTP/2 share a connection: one that died is noticed within twice this.
const PING: Duration = Duration::from_secs(10);
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("ai-gateway-exporter/", env!("CARGO_PKG_VERSION")));
/// Below this many bytes compressing is not worth a thread's switch.
const INLINE_BYTES: usize = 16 << 10;

/// The client of one destination.
#[derive(Clone, Debug)]
pub struct Sender {
    client: Client<Connector, Full<Bytes>>,
}

/// An answer, read whole and decompressed.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. Empty where an answer that is no success was too large or not readable: its status tells enough.
    pub body: Bytes,
    /// What followed the body; empty for most.
    pub trailers: HeaderMap,
}

impl Reply {
    /// As the destinations read it.
    #[must_use]
    pub fn answer(&self) -> Answer<'_> {
        Answer { status: self.status, headers: &self.headers, body: &self.body }
    }
}

impl Sender {
    /// A client with the destination's TLS settings, which connects directly.
    ///
    /// # Errors
    /// What of the settings can not be used.
    pub fn new(
        settings: &tls::Settings,
        server_name: Option<tls::ServerName>,
        policy: Policy,
    ) -> Result<Self, tls::Invalid> {
        Self::by(settings, Way { policy, server_name, proxy: None })
    }

    /// A client that connects as it is told, and speaks HTTP/2 with a server that offers it by ALPN.
    ///
    /// # Errors
    /// What of the settings can not be used.
    pub fn by(settings: &tls::Settings, way: Way) -> Result<Self, tls::Invalid> {
        Ok(Self::over(Connector::new(settings, &[b"h2", b"http/1.1"], way)?, false))
    }

    /// A client that speaks HTTP/2 and nothing else, without TLS too ("prior knowledge", RFC 9113 3.3).
    ///
    /// # Errors
    /// What of the settings can not be used.
    pub fn http2(settings: &tls::Settings, way: Way) -> Result<Self, tls::Invalid> {
        Ok(Self::over(Connector::new(settings, &[b"h2"], way)?, true))
    }

    fn over(connector: Connector, http2_only: bool) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            .http2_only(http2_only)
            .build(connector);
        Self { client }
    }

    /// Makes one attempt, which takes at most `timeout`.
    ///
    /// # Errors
    /// Why there is no answer. Any status is an answer.
    pub async fn send(&self, request: Request, timeout: Duration) -> Result<Reply, Cause> {
        let deadline = Instant::now() + timeout;
        tokio::time::timeout_at(deadline, self.attempt(request)).await.unwrap_or(Err(Cause::Timeout))
    }

    async fn attempt(&self, request: Request) -> Result<Reply, Cause> {
        let Request { url, mut headers, body, compress } = request;
        headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        // A verdict for each event is shorter than half the event.
        let limit = MAX_ANSWER_BYTES + body.len() / 2;
        let body = if compress {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            gzip(body).await?
        } else {
            body
        };
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::try_from(url.as_str()).map_err(|_| Cause::Resolve)?;
        *request.headers_mut() = headers;
        let response = self.client.request(request).await.map_err(|error| cause(&error))?;
        let (head, body) = response.into_parts();
        let (body, trailers) = match read(body, &head.headers, limit).await {
            Ok(read) => read,
            // The verdict on a refusal needs no body: a proxy's long error page must not turn a 401 into a retry.
            Err(Cause::TooLarge | Cause::Broken) if !head.status.is_success() => Default::default(),
            Err(cause) => return Err(cause),
        };
        Ok(Reply { status: head.status, headers: head.headers, body, trailers })
    }
}

/// Compresses at the fastest level: it takes a third of the time of the default one for a tenth more bytes.
pub(crate) async fn gzip(body: Bytes) -> Result<Bytes, Cause> {
    let small = body.len() <= INLINE_BYTES;
    let compress = move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        encoder.write_all(&body).and_then(|()| encoder.finish()).map(Bytes::from).map_err(|_| Cause::Broken)
    };
    if small { compress() } else { tokio::task::spawn_blocking(compress).await.map_err(|_| Cause::Broken)? }
}

async fn read(mut incoming: Incoming, headers: &HeaderMap, limit: usize) -> Result<(Bytes, HeaderMap), Cause> {
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = incoming.frame().await {
        match frame.map_err(|error| Cause::find(&error).unwrap_or(Cause::Broken))?.into_data() {
            Ok(data) if body.len() + data.len() > limit => return Err(Cause::TooLarge),
            Ok(data) => body.extend_from_slice(&data),
            Err(other) => trailers = other.into_trailers().unwrap_or_default(),
        }
    }
    let body = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => body.into(),
        // Not asked for, and sent all the same by some servers.
        Some(b"gzip" | b"x-gzip") => gunzip(&body, limit)?,
        Some(_) => return Err(Cause::Broken),
    };
    Ok((body, trailers))
}

/// At most so many bytes.
pub(crate) fn gunzip(body: &[u8], limit: usize) -> Result<Bytes, Cause> {
    let mut out = Vec::new();
    MultiGzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut out).map_err(|_| Cause::Broken)?;
    if out.len() > limit { Err(Cause::TooLarge) } else { Ok(out.into()) }
}

fn cause(error: &Error) -> Cause {
    match Cause::find(error) {
        Some(cause) => cause,
        None if error.is_connect() => Cause::Connect,
        None => Cause::Broken,
    }
}
