//! What a receiver's answer means (Standard Webhooks, "Deliverability and reliability").

use crate::answer::{Answer, Code, Outcome, Verdict};
use crate::status;

/// Any 2xx is an acknowledgement; a receiver's body has no documented form. `410 Gone` asks not to be sent anything
/// more, so everything is held until somebody changes the destination.
#[must_use]
pub fn outcome(answer: &Answer<'_>, events: usize) -> Outcome {
    Outcome::All(match answer.status {
        http::StatusCode::GONE => Verdict::Config { code: Code::fixed("http-410"), field: "url" },
        _ => status::verdict(answer, events, "url"),
    })
}
