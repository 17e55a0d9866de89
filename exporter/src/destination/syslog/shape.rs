//! An event as a syslog message, framed as the destination's transport wants it.

use std::borrow::Cow;
use std::io::Write as _;

use bytes::Bytes;

use super::config::{Config, Format, Framing};
use super::{cef, message};
use crate::destination::{Routed, Shaped, cut};

/// RFC 5424 6.4.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The message of an event, at most the destination's `maxBytes` long.
#[must_use]
pub fn shape(config: &Config, event: &Routed<'_>) -> Shaped {
    let head = message::head(config, event);
    let bom: &[u8] = if config.bom { BOM } else { b"" };
    let room = config.max_bytes - (head.len() + bom.len()).min(config.max_bytes);
    let (text, cut) = match config.format {
        Format::Json => {
            let text = cut::json(event.canonical, room);
            let cut = text.len() != event.canonical.len();
            (text, cut)
        }
        Format::Cef => {
            let (text, cut) = cef::message(event, message::severity(event), room);
            (Cow::Owned(text), cut)
        }
    };
    let length = head.len() + bom.len() + text.len();
    let mut out = Vec::with_capacity(length + 8);
    if config.framing == Some(Framing::OctetCounting) {
        // Writing to memory cannot fail.
        let _ = write!(out, "{length} ");
    }
    out.extend_from_slice(&head);
    out.extend_from_slice(bom);
    out.extend_from_slice(&text);
    if config.framing == Some(Framing::NewLine) {
        // JSON has no line feed inside a string, so one can only be between two tokens, where a space says the same.
        out.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        out.push(b'\n');
    }
    Shaped { bytes: Bytes::from(out), time: event.record.timestamp, group: Cow::Borrowed(""), cut }
}
