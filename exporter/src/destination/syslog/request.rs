//! Messages joined for one write to a stream.

use bytes::{Bytes, BytesMut};

use crate::destination::{Limits, Shaped};

/// How much is written at once. A datagram is written alone.
pub const LIMITS: Limits = Limits { events: 500, bytes: 256 << 10, span: None };

/// The bytes to write: each message is framed already.
#[must_use]
pub fn joined<'a>(messages: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let mut all = BytesMut::with_capacity(messages.clone().map(Bytes::len).sum());
    messages.for_each(|message| all.extend_from_slice(message));
    all.freeze()
}

/// The bytes of each event.
pub(super) fn messages(events: &[Shaped]) -> impl Iterator<Item = &Bytes> + Clone {
    events.iter().map(|event| &event.bytes)
}
