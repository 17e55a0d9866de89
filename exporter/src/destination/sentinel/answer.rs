//! What the answer of the Logs Ingestion API means (Azure Monitor, "Logs Ingestion API", and its error code in the
//! header `x-ms-error-code` or the body's `error.code`).

use serde::Deserialize;

use crate::answer::{Answer, Code, Outcome, Verdict};
use crate::status;

/// The header that repeats the code.
const ERROR_CODE: &str = "x-ms-error-code";
/// The request had more than 30 minutes of events. Halves have less, and end at one event, which has none at all.
const SPAN: &str = "RecordsTimeRangeIsMoreThan30Minutes";

#[derive(Deserialize)]
struct Body {
    error: Failure,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
}

/// The outcome of a request.
#[must_use]
pub fn outcome(answer: &Answer<'_>, events: usize) -> Outcome {
    let header = answer.headers.get(ERROR_CODE).and_then(|code| code.to_str().ok());
    let body = serde_json::from_slice(answer.body).ok().map(|Body { error }| error.code);
    if header == Some(SPAN) || body.as_deref() == Some(SPAN) {
        return Outcome::All(status::refused(Code::fixed(SPAN), events));
    }
    Outcome::All(match answer.status.as_u16() {
        204 => Verdict::Delivered,
        // Of something else: a proxy, a login page.
        200..300 => Verdict::Config { code: Code::fixed("sentinel-no-response"), field: "endpoint" },
        404 => Verdict::Config { code: Code::fixed("http-404"), field: "ruleId" },
        _ => status::verdict(answer, events, "endpoint"),
    })
}
