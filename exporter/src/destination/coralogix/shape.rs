//! An event of Coralogix: a log record as in OTLP.

use crate::destination::otlp;
use crate::destination::{Routed, Shaped};

/// The record. The group is the component, which is the subsystem.
#[must_use]
pub fn shape(event: &Routed<'_>) -> Shaped {
    otlp::shape::shape(event)
}
