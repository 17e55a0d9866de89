//! An event as a line that begins with its time.

use std::borrow::Cow;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::config::metadata;
use crate::destination::{Routed, Shaped, cut};

/// Longest message; what is longer is split into several ("HTTP Logs Source", 64 KB).
const MESSAGE_BYTES: usize = 64_000;

/// `{"time":"…", …the canonical keys… }` and a line feed. Sumo Logic reads a message's time from its text, where the
/// first time that it finds counts.
///
/// The group is the source category that an override names; one that no header can hold is the destination's own.
#[must_use]
pub fn shape(event: &Routed<'_>) -> Shaped {
    let time = format!(r#"{{"time":"{:.3}","#, event.record.timestamp.timestamp());
    let text = cut::json(event.canonical, MESSAGE_BYTES - time.len());
    let mut line = BytesMut::with_capacity(time.len() + text.len() + 1);
    match text.strip_prefix(b"{") {
        Some(rest) => {
            line.put_slice(time.as_bytes());
            line.put_slice(rest);
        }
        None => line.put_slice(&text),
    }
    line.put_u8(b'\n');
    Shaped {
        bytes: Bytes::from(line),
        time: event.record.timestamp,
        group: event
            .index
            .filter(|index| metadata(index).is_some())
            .map_or(Cow::Borrowed(""), |index| index.to_owned().into()),
        cut: text.len() != event.canonical.len(),
    }
}
