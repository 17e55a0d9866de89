//! A `_bulk` request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};

use super::Config;
use crate::destination::check;
use crate::destination::invalid::Invalid;
use crate::destination::{Limits, Request, Shaped};

/// Elasticsearch takes 100 MB by default and asks for 5 to 15 MB.
pub const LIMITS: Limits = Limits { events: 10_000, bytes: 5 << 20, span: None };

/// The API key or password, as the header that it is sent in.
#[derive(Clone, Debug)]
pub struct Credential(HeaderValue);

impl Credential {
    /// Reads the secret.
    ///
    /// # Errors
    /// A secret that no header can hold.
    pub fn new(config: &Config, secret: &SecretString) -> Result<Self, Invalid> {
        let value = match &config.username {
            None => check::credential("secretRef", "ApiKey ", secret)?,
            Some(username) => {
                let pair = SecretString::from(format!("{username}:{}", secret.expose_secret().trim()));
                let encoded = SecretString::from(STANDARD.encode(pair.expose_secret()));
                check::credential("secretRef", "Basic ", &encoded)?
            }
        };
        Ok(Self(value))
    }
}

/// The request for a batch. Each event ends with the line break that `_bulk` insists on.
#[must_use]
pub fn request(config: &Config, credential: &Credential, events: &[Shaped]) -> Request {
    let mut body = BytesMut::with_capacity(events.iter().map(|event| event.bytes.len()).sum());
    for event in events {
        body.put_slice(&event.bytes);
    }
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::AUTHORIZATION, credential.0.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Request { url: config.url.clone(), headers, body: body.freeze(), compress: true }
}
