//! A request of lines, all of one group.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Config;
use super::config::metadata;
use crate::address::Policy;
use crate::destination::invalid::Invalid;
use crate::destination::{Limits, Request, Shaped};

/// Sumo Logic asks for 100 KB to 1 MB of uncompressed data.
pub const LIMITS: Limits = Limits { events: 1_000, bytes: 1_000_000, span: None };

/// The URL of the source: who has it may write.
pub struct Credential(Url);

/// Not derived: the path is the secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credential").field(&self.host()).finish()
    }
}

impl Credential {
    /// Reads the URL; it is held to the same rules as any other destination's.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn new(url: &SecretString, policy: Policy) -> Result<Self, Invalid> {
        let url =
            policy.parse_url(url.expose_secret().trim()).map_err(|problem| Invalid::new("urlSecretRef", problem))?;
        Ok(Self(url))
    }

    /// The host, which a condition may name and an annotation of the Secret must allow.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.0.host_str()
    }
}

/// The request for a batch of one group.
#[must_use]
pub fn request(config: &Config, credential: &Credential, events: &[Shaped]) -> Request {
    let mut body = BytesMut::with_capacity(events.iter().map(|event| event.bytes.len()).sum());
    events.iter().for_each(|event| body.extend_from_slice(&event.bytes));
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let group = events.first().and_then(|event| metadata(&event.group));
    for (name, value) in [
        ("x-sumo-category", group.as_ref().or(config.category.as_ref())),
        ("x-sumo-name", config.name.as_ref()),
        ("x-sumo-host", config.host.as_ref()),
        ("x-sumo-fields", config.fields.as_ref()),
    ] {
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
    Request { url: credential.0.clone(), headers, body: Bytes::from(body), compress: true }
}
