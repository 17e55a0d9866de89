//! The destinations: one folder each, of `config`, `shape`, `request` and `answer`.
//!
//! Promises: everything below a folder but `send` is pure: no client, no clock, no randomness, no log. Adding a
//! destination touches its folder, one enum of `crds` and one line of the registry.

mod block;
mod check;
pub mod coralogix;
pub mod cut;
pub mod datadog;
pub mod elasticsearch;
pub mod event_bridge;
pub mod invalid;
pub mod otlp;
pub mod renamed;
pub mod sentinel;
pub mod splunk;
pub mod stdout;
pub mod sumo_logic;
pub mod syslog;
pub mod webhook;

use std::borrow::Cow;
use std::fmt;

pub use block::{Block, SecretField};
use bytes::Bytes;
use events::{Moment, Record};

/// One event on its way to one destination, after privacy and routing.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'a> {
    /// The event.
    pub record: &'a Record,
    /// Its canonical JSON, as privacy left it.
    pub canonical: &'a [u8],
    /// The platform's level, after the destination's severity map; `None`: the platform's default for the event's own.
    pub level: Option<&'a str>,
    /// The index that an override names for the event's server.
    pub index: Option<&'a str>,
}

/// An event, encoded for one platform.
#[derive(Clone, Debug)]
pub struct Shaped {
    /// What goes into the body.
    pub bytes: Bytes,
    /// When it happened: some platforms limit the span of one request.
    pub time: Moment,
    /// Events of different groups never share a request (an index, a header's value); most platforms have one, the
    /// empty.
    pub group: Cow<'static, str>,
    /// Whether something was cut, to fit the platform's limit for one event; the encoded event says so itself.
    pub cut: bool,
}

/// How much one request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes of the body before compression, with all that joins the events.
    pub bytes: usize,
    /// The span from the earliest to the latest event.
    pub span: Option<std::time::Duration>,
}

/// One HTTP request, whole but for what belongs to one attempt.
pub struct Request {
    /// Where to, with path and query.
    pub url: url::Url,
    /// Content type, credentials and what else the platform wants; credentials are marked sensitive.
    pub headers: http::HeaderMap,
    /// Not compressed yet; `compress` says whether it is to be.
    pub body: Bytes,
    /// Whether the platform takes `Content-Encoding: gzip`.
    pub compress: bool,
}

/// Not derived: the URL of some platforms is their credential, and the body is events.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("host", &self.url.host_str())
            .field("headers", &self.headers.keys())
            .field("body_bytes", &self.body.len())
            .field("compress", &self.compress)
            .finish()
    }
}
