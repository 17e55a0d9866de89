//! One unary call of gRPC over HTTP/2 (grpc/grpc, "PROTOCOL-HTTP2"), on the HTTP client: what that promises of addresses,
//! TLS, time and size holds here too.
//!
//! Promises: requests are compressed by gzip, which every OTLP server takes; an answer is one message of at most
//! [`MAX_ANSWER_BYTES`](crate::http::MAX_ANSWER_BYTES), compressed and decompressed. `grpc-message` is text of the server
//! and is not read.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::cause::Cause;
use crate::connect::Way;
use crate::destination::Request;
use crate::http::{self as client, MAX_ANSWER_BYTES, Sender, gunzip, gzip};
use crate::tls;

/// Whether a message is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// UNKNOWN: what a status that is none stands for.
const UNKNOWN: u32 = 2;

/// A client.
#[derive(Clone, Debug)]
pub struct Caller(Sender);

/// What a call brought.
#[derive(Debug)]
pub enum Reply {
    /// A status of gRPC.
    Call {
        /// `grpc-status`.
        status: u32,
        /// `grpc-status-details-bin`, as it was sent.
        details: Option<String>,
        /// The message, decompressed and without its prefix. `None` where there is none, as with an error.
        message: Option<Bytes>,
    },
    /// Not of gRPC: of a proxy, or of another server.
    Other(client::Reply),
}

impl Caller {
    /// A client with the destination's TLS settings; HTTP/2 without TLS for an `http` URL.
    ///
    /// # Errors
    /// What of the settings can not be used.
    pub fn new(settings: &tls::Settings, way: Way) -> Result<Self, tls::Invalid> {
        Sender::http2(settings, way).map(Self)
    }

    /// Makes one call of a request whose body is one message with its prefix.
    ///
    /// # Errors
    /// Why there is no answer; a stream that ends without a status is [`Cause::Broken`].
    pub async fn call(&self, mut request: Request, timeout: Duration) -> Result<Reply, Cause> {
        request.body = compressed(request.body).await?;
        request.headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        request.headers.insert("grpc-accept-encoding", HeaderValue::from_static("gzip,identity"));
        // At most eight digits.
        let milliseconds = timeout.as_millis().min(99_999_999);
        if let Ok(value) = HeaderValue::from_str(&format!("{milliseconds}m")) {
            request.headers.insert("grpc-timeout", value);
        }
        read(self.0.send(request, timeout).await?)
    }
}

async fn compressed(framed: Bytes) -> Result<Bytes, Cause> {
    let message = gzip(framed.slice(PREFIX_BYTES.min(framed.len())..)).await?;
    let mut out = BytesMut::with_capacity(message.len() + PREFIX_BYTES);
    out.put_u8(1);
    out.put_u32(u32::try_from(message.len()).map_err(|_| Cause::TooLarge)?);
    out.put_slice(&message);
    Ok(out.freeze())
}

fn read(reply: client::Reply) -> Result<Reply, Cause> {
    let is_grpc = |headers: &HeaderMap| {
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
    };
    // A server that has nothing to say but its status says it in the headers ("Trailers-Only").
    let ends = [&reply.trailers, &reply.headers];
    let ends = ends.into_iter().find(|headers| headers.contains_key("grpc-status"));
    if reply.status != StatusCode::OK || !is_grpc(&reply.headers) {
        return Ok(Reply::Other(reply));
    }
    let ends = ends.ok_or(Cause::Broken)?;
    let text = |name| ends.get(name).and_then(|value| value.to_str().ok());
    let status = text("grpc-status").and_then(|number| number.parse().ok()).unwrap_or(UNKNOWN);
    let details = text("grpc-status-details-bin").map(str::to_owned);
    let message = if status == 0 { message(&reply.headers, reply.body)? } else { None };
    Ok(Reply::Call { status, details, message })
}

/// The only message of a body.
fn message(headers: &HeaderMap, mut body: Bytes) -> Result<Option<Bytes>, Cause> {
    if body.is_empty() {
        return Ok(None);
    }
    if body.len() < PREFIX_BYTES {
        return Err(Cause::Broken);
    }
    let (compressed, length) = (body.get_u8(), body.get_u32());
    if usize::try_from(length).ok() != Some(body.len()) {
        return Err(Cause::Broken);
    }
    let encoding = headers.get("grpc-encoding").map(HeaderValue::as_bytes);
    match (compressed, encoding) {
        (0, _) => Ok(Some(body)),
        (1, Some(b"gzip")) => gunzip(&body, MAX_ANSWER_BYTES).map(Some),
        _ => Err(Cause::Broken),
    }
}
