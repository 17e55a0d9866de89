//! An event as an entry of PutEvents.

use std::borrow::Cow;
use std::io::Write as _;

use bytes::Bytes;
use events::EventName;

use super::Config;
use crate::destination::{Routed, Shaped, cut};

/// The most that one entry may count, so that ten of them stay below the 256 KB that every region takes for a request
/// (some take 1 MB since 2026).
pub const ENTRY_BYTES: usize = 25_000;
/// What a time counts, by the size rule ("Calculating PutEvents event entry size").
const TIME_BYTES: usize = 14;
/// Of `DetailType`, in characters.
const DETAIL_TYPE_CHARS: usize = 128;

const fn fits(name: EventName) -> bool {
    name.as_str().len() <= DETAIL_TYPE_CHARS
}
// The catalogue grows; a name that EventBridge refuses must not compile.
const _: () = {
    let mut i = 0;
    while i < EventName::ALL.len() {
        assert!(fits(EventName::ALL[i]));
        i += 1;
    }
};

/// What an entry with a time and no resources counts: bytes of UTF-8, before they are escaped.
#[must_use]
pub fn entry_size(source: &str, detail_type: &str, detail: &str) -> usize {
    TIME_BYTES + source.len() + detail_type.len() + detail.len()
}

/// `{"Source":…,"DetailType":…,"Time":…,"EventBusName":…,"Detail":"…"}`. `Detail` is the canonical JSON: its keys are
/// flat, and EventBridge's patterns match flat keys with dots as they match nested ones.
#[must_use]
pub fn shape(config: &Config, event: &Routed<'_>) -> Shaped {
    let kind = event.record.event.as_str();
    let room = ENTRY_BYTES - entry_size(&config.source, kind, "");
    let detail = cut::json(event.canonical, room);
    let cut = detail.len() != event.canonical.len();
    let mut out = Vec::with_capacity(detail.len() * 5 / 4 + 256);
    // Writing to memory cannot fail, and canonical JSON is UTF-8. Source and bus are checked to need no escapes.
    let _ = write!(
        out,
        r#"{{"Source":"{}","DetailType":"{kind}","Time":{},"EventBusName":"{}","Detail":"#,
        config.source,
        event.record.timestamp.timestamp().as_second(),
        config.event_bus,
    );
    let _ = serde_json::to_writer(&mut out, &String::from_utf8_lossy(&detail));
    out.push(b'}');
    Shaped { bytes: Bytes::from(out), time: event.record.timestamp, group: Cow::Borrowed(""), cut }
}
