//! An event of a HEC: the envelope (<https://help.splunk.com>, "Format events for HTTP Event Collector") around CIM
//! fields.

use std::borrow::Cow;
use std::io::Write as _;

use super::Config;
use crate::destination::renamed::Object;
use crate::destination::{Routed, Shaped, cut};
use crate::mapping::{OWN_PREFIX, Platform, level};

/// Most bytes of a canonical event that are sent. Renaming makes an event at most three times as long, so one event
/// always fits in a request; Splunk's own exporter allows 5 MiB for one event.
const ROOM: usize = super::request::LIMITS.bytes / 4;

/// The event with its envelope. `time` has milliseconds; `index` is left out where the token's default is meant.
#[must_use]
pub fn shape(config: &Config, event: &Routed<'_>) -> Shaped {
    let canonical = cut::json(event.canonical, ROOM);
    let fields = cut::fields(&canonical).unwrap_or_default();
    let record = event.record;

    let mut out = Vec::with_capacity(canonical.len() + canonical.len() / 2 + 256);
    let mut envelope = Object::begin(&mut out);
    let ms = record.timestamp.unix_ms();
    // Writing to memory cannot fail.
    let _ = write!(envelope.key("time"), "{}.{:03}", ms / 1_000, ms % 1_000);
    envelope.text("host", record.component_instance.as_str());
    envelope.text("source", &config.source);
    envelope.text("sourcetype", &config.sourcetype);
    if let Some(index) = event.index.or(config.index.as_deref()) {
        envelope.text("index", index);
    }
    let mut body = Object::begin(envelope.key("event"));
    body.values(&fields, Platform::Splunk, OWN_PREFIX);
    body.text("severity", level(Platform::Splunk, record.severity, event.level).0);
    body.end();
    envelope.end();
    Shaped {
        bytes: out.into(),
        time: record.timestamp,
        group: Cow::Borrowed(""),
        cut: matches!(canonical, Cow::Owned(_)),
    }
}
