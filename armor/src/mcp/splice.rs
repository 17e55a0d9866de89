//! Replacing a few bytes of a JSON text, so that all others stay as they came.

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

/// Where a borrowed piece lies in the text it was borrowed from. `None`: it is not a piece of it.
#[must_use]
pub fn position(text: &[u8], piece: &RawValue) -> Option<std::ops::Range<usize>> {
    // Addresses are compared as numbers; nothing is read through them.
    let start = (piece.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start.checked_add(piece.get().len())?;
    (text.get(start..end)? == piece.get().as_bytes()).then_some(start..end)
}

/// The text with one piece replaced.
#[must_use]
pub fn replace(text: &[u8], piece: &RawValue, with: &[u8]) -> Option<Bytes> {
    let at = position(text, piece)?;
    let mut out = BytesMut::with_capacity(text.len() - at.len() + with.len());
    out.extend_from_slice(&text[..at.start]);
    out.extend_from_slice(with);
    out.extend_from_slice(&text[at.end..]);
    Some(out.freeze())
}

/// A JSON string.
#[must_use]
pub fn json_string(text: &str) -> String {
    // Serializing a string can not fail.
    serde_json::to_string(text).unwrap_or_default()
}
