//! What an HTTP source answers ("HTTP Logs Source", "Troubleshooting"): a status, and no body of a documented form.

use http::StatusCode;

use crate::answer::{Answer, Code, Outcome, Verdict};
use crate::status;

/// The verdict of a status. `401`: no source has this URL. `408`: it took too long, and some may be ingested: less at
/// once.
#[must_use]
pub fn outcome(answer: &Answer<'_>, events: usize) -> Outcome {
    Outcome::All(match answer.status {
        StatusCode::REQUEST_TIMEOUT if events > 1 => Verdict::Split { code: Code::fixed("http-408") },
        _ => status::verdict(answer, events, "urlSecretRef"),
    })
}
