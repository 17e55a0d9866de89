//! What the intake's answer means (Datadog API, "Send logs", v2, responses).

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::answer::{Answer, Code, Outcome, Verdict};
use crate::status;

#[derive(Deserialize)]
struct Body {
    errors: Option<IgnoredAny>,
}

/// The outcome of a request. The intake takes a batch or refuses it; its errors have no codes beside the status.
#[must_use]
pub fn outcome(answer: &Answer<'_>, events: usize) -> Outcome {
    // Documented is 202 with `{}`; workers and proxies that speak the protocol answer 200 too, some without a body.
    let accepted =
        answer.body.is_empty() || serde_json::from_slice::<Body>(answer.body).is_ok_and(|body| body.errors.is_none());
    Outcome::All(match answer.status.is_success() && !accepted {
        true => Verdict::Config { code: Code::fixed("datadog-no-response"), field: "site" },
        false => status::verdict(answer, events, "site"),
    })
}
