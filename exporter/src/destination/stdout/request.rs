//! Lines joined for one write.

use bytes::{Bytes, BytesMut};

use crate::destination::{Limits, Shaped};

/// How much is written at once.
pub const LIMITS: Limits = Limits { events: 1_000, bytes: 1 << 20, span: None };

/// The bytes to write.
#[must_use]
pub fn lines(events: &[Shaped]) -> Bytes {
    let mut all = BytesMut::with_capacity(events.iter().map(|event| event.bytes.len()).sum());
    for event in events {
        all.extend_from_slice(&event.bytes);
    }
    all.freeze()
}
