//! What Coralogix's answer means: as in OTLP.

use crate::answer::{Answer, Outcome};
use crate::destination::otlp;

/// The outcome of a request.
#[must_use]
pub fn outcome(answer: &Answer<'_>, events: usize) -> Outcome {
    otlp::answer::outcome(answer, events)
}
