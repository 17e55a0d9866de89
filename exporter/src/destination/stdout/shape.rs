//! An event as a line: its canonical JSON.

use std::borrow::Cow;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::destination::{Routed, Shaped};

/// The canonical bytes and a line feed. JSON strings hold no raw line feed, so a line is an event.
///
/// Nothing is cut: the container runtimes split what is longer than 16 KiB and mark the parts, and log collectors join
/// them.
#[must_use]
pub fn shape(event: &Routed<'_>) -> Shaped {
    let mut line = BytesMut::with_capacity(event.canonical.len() + 1);
    line.put_slice(event.canonical);
    line.put_u8(b'\n');
    Shaped { bytes: Bytes::from(line), time: event.record.timestamp, group: Cow::Borrowed(""), cut: false }
}
