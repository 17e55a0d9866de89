//! A request to a HEC.

use bytes::{BufMut as _, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use secrecy::SecretString;

use super::Config;
use crate::destination::check;
use crate::destination::invalid::Invalid;
use crate::destination::{Limits, Request, Shaped};

/// Splunk's own exporter sends 2 MiB; Splunk Cloud is said to take 1 MB, so that is what every HEC gets.
pub const LIMITS: Limits = Limits { events: 10_000, bytes: 1_000_000, span: None };

/// Which conversation with the indexers acknowledgements belong to (Splunk, "About HEC Indexer Acknowledgment").
const CHANNEL: &str = "x-splunk-request-channel";

/// The token, as the header that it is sent in.
#[derive(Clone, Debug)]
pub struct Credential(HeaderValue);

impl Credential {
    /// Reads the secret.
    ///
    /// # Errors
    /// A secret that no header can hold.
    pub fn new(token: &SecretString) -> Result<Self, Invalid> {
        check::credential("tokenSecretRef", "Splunk ", token).map(Self)
    }
}

/// A channel: a GUID. An id of an acknowledgement means nothing on another one, so a client that lost its connection
/// takes a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel(String);

impl Channel {
    /// From random bits.
    #[must_use]
    pub fn new(random: u128) -> Self {
        let hex = format!("{random:032x}");
        Self(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }

    /// As it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The request for a batch: events back to back, in no array. With a channel, its answer has the id of an
/// acknowledgement.
#[must_use]
pub fn request(config: &Config, credential: &Credential, channel: Option<&Channel>, events: &[Shaped]) -> Request {
    let mut body = BytesMut::with_capacity(events.iter().map(|event| event.bytes.len()).sum());
    for event in events {
        body.put_slice(&event.bytes);
    }
    Request { url: config.url.clone(), headers: headers(credential, channel), body: body.freeze(), compress: true }
}

pub(super) fn headers(credential: &Credential, channel: Option<&Channel>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(header::AUTHORIZATION, credential.0.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Of hexadecimal digits and hyphens: the conversion cannot fail.
    if let Some(channel) = channel.and_then(|channel| HeaderValue::from_str(channel.as_str()).ok()) {
        headers.insert(CHANNEL, channel);
    }
    headers
}
