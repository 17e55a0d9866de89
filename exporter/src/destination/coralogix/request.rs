//! A request to Coralogix.

use http::{HeaderMap, HeaderValue, header};
use secrecy::SecretString;

use super::Config;
use crate::destination::invalid::Invalid;
use crate::destination::otlp::request::{attribute, message};
use crate::destination::{Limits, Request, Shaped, check};

/// 10 MB is refused, 2 MB is the advice.
pub const LIMITS: Limits = Limits { events: 10_000, bytes: 2_000_000, span: None };

/// The "Send-Your-Data" API key, as the header that it is sent in.
#[derive(Clone, Debug)]
pub struct Credential(HeaderValue);

impl Credential {
    /// Reads the secret.
    ///
    /// # Errors
    /// A secret that no header can hold.
    pub fn new(key: &SecretString) -> Result<Self, Invalid> {
        check::credential("secretRef", "Bearer ", key).map(Self)
    }
}

/// The request for a batch of one group.
#[must_use]
pub fn request(config: &Config, credential: &Credential, events: &[Shaped]) -> Request {
    let component = events.first().map_or("", |event| &*event.group);
    let attributes = vec![
        attribute("cx.application.name", &config.application),
        attribute("cx.subsystem.name", config.subsystem.as_deref().unwrap_or(component)),
    ];
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::AUTHORIZATION, credential.0.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    Request { url: config.url.clone(), headers, body: message(attributes, events), compress: true }
}
