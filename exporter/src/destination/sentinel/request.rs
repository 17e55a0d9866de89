//! A request to the Logs Ingestion API.

use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use secrecy::SecretString;

use super::Config;
use crate::destination::invalid::Invalid;
use crate::destination::{Limits, Request, Shaped, check};

/// 1 MB for one call, compressed or not; and 30 minutes of events, which a backlog is easily longer than.
pub const LIMITS: Limits = Limits { events: 10_000, bytes: 1_000_000, span: Some(Duration::from_secs(30 * 60)) };

/// An access token, as the header that it is sent in.
#[derive(Clone, Debug)]
pub struct Credential(HeaderValue);

impl Credential {
    /// From the token of [`super::token::answer`].
    ///
    /// # Errors
    /// A token that no header can hold.
    pub fn new(token: &SecretString) -> Result<Self, Invalid> {
        check::credential("clientSecretRef", "Bearer ", token).map(Self)
    }
}

/// The request for a batch: an array of rows.
#[must_use]
pub fn request(config: &Config, credential: &Credential, events: &[Shaped]) -> Request {
    let mut body = BytesMut::with_capacity(events.iter().map(|event| event.bytes.len() + 1).sum::<usize>() + 2);
    for (i, event) in events.iter().enumerate() {
        body.put_u8(if i == 0 { b'[' } else { b',' });
        body.put_slice(&event.bytes);
    }
    body.put_u8(b']');
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::AUTHORIZATION, credential.0.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Request { url: config.url.clone(), headers, body: body.freeze(), compress: true }
}
