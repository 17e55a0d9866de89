//! An event of a webhook: the canonical JSON.

use std::borrow::Cow;

use bytes::Bytes;

use crate::destination::{Routed, Shaped};

/// The canonical bytes. Standard Webhooks sets no limit for an event, so nothing is cut.
#[must_use]
pub fn shape(event: &Routed<'_>) -> Shaped {
    Shaped {
        bytes: Bytes::copy_from_slice(event.canonical),
        time: event.record.timestamp,
        group: Cow::Borrowed(""),
        cut: false,
    }
}
