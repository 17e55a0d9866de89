//! A request to the logs intake.

use bytes::{BufMut as _, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use secrecy::SecretString;

use super::Config;
use crate::destination::invalid::Invalid;
use crate::destination::{Limits, Request, Shaped, check};

/// The intake takes 1,000 logs and 5 MB; 4.25 MB leaves room for a margin of its own count.
pub const LIMITS: Limits = Limits { events: 1_000, bytes: 4_250_000, span: None };

/// The header of the API key.
const API_KEY: &str = "dd-api-key";

/// The API key, as the header that it is sent in.
#[derive(Clone, Debug)]
pub struct Credential(HeaderValue);

impl Credential {
    /// Reads the secret.
    ///
    /// # Errors
    /// A secret that no header can hold.
    pub fn new(key: &SecretString) -> Result<Self, Invalid> {
        check::credential("apiKeySecretRef", "", key).map(Self)
    }
}

/// The request for a batch: an array of logs.
#[must_use]
pub fn request(config: &Config, credential: &Credential, events: &[Shaped]) -> Request {
    let mut body = BytesMut::with_capacity(events.iter().map(|event| event.bytes.len() + 1).sum::<usize>() + 2);
    for (i, event) in events.iter().enumerate() {
        body.put_u8(if i == 0 { b'[' } else { b',' });
        body.put_slice(&event.bytes);
    }
    body.put_u8(b']');
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(API_KEY, credential.0.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Request { url: config.url.clone(), headers, body: body.freeze(), compress: true }
}
