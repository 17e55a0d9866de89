//! The one place that speaks HTTP: sends a [`Request`], reads the whole answer.
//!
//! Promises: no redirect is followed and no proxy of the environment is used; the address that is connected to is one
//! that [`crate::address`] allows; one limit holds for all of an attempt, from the name's resolution to the answer's
//! last byte; an answer takes at most [`MAX_ANSWER_BYTES`] of memory, compressed and decompressed. Must never let a
//! text of the server or a URL out in an error.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::Instant;
use url::Url;

use crate::address::{Policy, Resolver};
use crate::answer::Answer;
use crate::cause::Cause;
use crate::destination::Request;
use crate::tls;

/// The most that is read of an answer. The longest that a platform documents is one verdict per event of a batch.
pub const MAX_ANSWER_BYTES: usize = 64 << 10;
/// A host that does not answer to a connection leaves time for the next of its addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the 60 s after which common load balancers close an idle connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Below this many bytes compressing is not worth a thread's switch.
const INLINE_BYTES: usize = 16 << 10;

/// The client of one destination.
#[derive(Clone, Debug)]
pub struct Sender {
    client: reqwest::Client,
    policy: Policy,
    server_name: Option<tls::ServerName>,
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
}

impl Reply {
    /// As the destinations read it.
    #[must_use]
    pub fn answer(&self) -> Answer<'_> {
        Answer { status: self.status, headers: &self.headers, body: &self.body }
    }
}

impl Sender {
    /// A client with the destination's TLS settings.
    ///
    /// With a server name, requests to its host are made by HTTP/1.1: in HTTP/2 the authority would be the name too.
    ///
    /// # Errors
    /// What of the settings can not be used.
    pub fn new(
        settings: &tls::Settings,
        server_name: Option<tls::ServerName>,
        policy: Policy,
    ) -> Result<Self, tls::Invalid> {
        let alpn: &[&[u8]] = if server_name.is_some() { &[b"http/1.1"] } else { &[b"h2", b"http/1.1"] };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(settings.client_config(alpn)?)
            .dns_resolver(Resolver { policy, alias: server_name.clone() })
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .user_agent(concat!("ai-gateway-exporter/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true);
        if server_name.is_some() {
            builder = builder.http1_only();
        }
        let client = builder.build().map_err(|_| tls::Invalid::Library)?;
        Ok(Self { client, policy, server_name })
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
        let Request { mut url, mut headers, body, compress } = request;
        // The client does not resolve a literal address, so its resolver does not see it.
        self.policy.check_literal(&url)?;
        if let Some(authority) = self.rename(&mut url)? {
            headers.insert(header::HOST, authority);
        }
        let body = if compress {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            gzip(body).await?
        } else {
            body
        };
        let request = self.client.post(url).headers(headers).body(body);
        let response = request.send().await.map_err(|error| cause(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match read(response, &headers).await {
            Ok(body) => body,
            // The verdict on a refusal needs no body: a proxy's long error page must not turn a 401 into a retry.
            Err(Cause::TooLarge | Cause::Broken) if !status.is_success() => Bytes::new(),
            Err(cause) => return Err(cause),
        };
        Ok(Reply { status, headers, body })
    }

    /// Puts the server name in the place of its host, which is what TLS asks for and checks; the resolver turns it
    /// back, and the `Host` header that is returned keeps what the author wrote.
    fn rename(&self, url: &mut Url) -> Result<Option<HeaderValue>, Cause> {
        let Some(server_name) = &self.server_name else { return Ok(None) };
        let host = match url.host_str() {
            Some(host) if host.eq_ignore_ascii_case(&server_name.host) => host,
            _ => return Ok(None),
        };
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let authority = HeaderValue::from_str(&authority).map_err(|_| Cause::Resolve)?;
        url.set_host(Some(&server_name.name)).map_err(|_| Cause::Resolve)?;
        Ok(Some(authority))
    }
}

/// Compresses at the fastest level: it takes a third of the time of the default one for a tenth more bytes.
async fn gzip(body: Bytes) -> Result<Bytes, Cause> {
    let small = body.len() <= INLINE_BYTES;
    let compress = move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        encoder.write_all(&body).and_then(|()| encoder.finish()).map(Bytes::from).map_err(|_| Cause::Broken)
    };
    if small { compress() } else { tokio::task::spawn_blocking(compress).await.map_err(|_| Cause::Broken)? }
}

async fn read(mut response: reqwest::Response, headers: &HeaderMap) -> Result<Bytes, Cause> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| cause(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Cause::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Ok(body.into()),
        // Not asked for, and sent all the same by some servers.
        Some(b"gzip" | b"x-gzip") => gunzip(&body),
        Some(_) => Err(Cause::Broken),
    }
}

fn gunzip(body: &[u8]) -> Result<Bytes, Cause> {
    let mut out = Vec::new();
    let limit = MAX_ANSWER_BYTES as u64 + 1;
    MultiGzDecoder::new(body).take(limit).read_to_end(&mut out).map_err(|_| Cause::Broken)?;
    if out.len() > MAX_ANSWER_BYTES { Err(Cause::TooLarge) } else { Ok(out.into()) }
}

fn cause(error: &reqwest::Error) -> Cause {
    match Cause::find(error) {
        Some(cause) => cause,
        None if error.is_timeout() => Cause::Timeout,
        None if error.is_connect() => Cause::Connect,
        None => Cause::Broken,
    }
}
