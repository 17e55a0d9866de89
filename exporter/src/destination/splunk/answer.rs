//! What a HEC's answer means: its HTTP status and the `code` of its body (Splunk, "Troubleshoot HTTP Event Collector").

use serde::Deserialize;

use crate::answer::{Answer, Code, Outcome, Verdict};
use crate::status;

#[derive(Deserialize)]
struct Body {
    code: i64,
    /// Of the first event that was not accepted, counted from 0.
    #[serde(rename = "invalid-event-number")]
    invalid: Option<usize>,
}

/// The outcome of a request; where acknowledgements are waited for, `Delivered` means no more than that the HEC has it.
#[must_use]
pub fn outcome(answer: &Answer<'_>, events: usize) -> Outcome {
    let Ok(body) = serde_json::from_slice::<Body>(answer.body) else {
        // Every HEC answers with a code. A success without one is of something else: a proxy, a login page.
        return Outcome::All(match answer.status.is_success() {
            true => Verdict::Config { code: Code::fixed("hec-no-code"), field: "url" },
            false => status::verdict(answer, events, "url"),
        });
    };
    let code = Code::number("hec", body.code);
    let retry = || Verdict::Retry { code: code.clone(), after: status::retry_after(answer.headers) };
    let config = |field| Verdict::Config { code: code.clone(), field };
    Outcome::All(match (answer.status.as_u16(), body.code) {
        // 24 and 25: accepted, while a queue fills up.
        (200, 0 | 24 | 25) => Verdict::Delivered,
        (200..300, _) => config("url"),
        // No data, invalid format, no event field, an empty event field, bad indexed fields.
        (400, 5 | 6 | 12 | 13 | 15) => return refused(&code, body.invalid, events),
        (400, 7) => config("index"),
        // No channel, an invalid one, acknowledgement switched off for the token.
        (400, 10 | 11 | 14) => config("acknowledgement"),
        // Authorization in the query string.
        (400, 16) => config("url"),
        // 401: no token, a malformed one. 403: disabled, unknown. 400: the same of newer versions.
        (401, 2 | 3) | (403, 1 | 4) | (400, 21 | 22) => Verdict::Auth { code },
        // 26, 27: a queue is full. 8: internal. 9, 18 to 20, 23: busy, unhealthy, shutting down.
        (429, 26 | 27) | (500, 8) | (503, 9 | 18..=20 | 23) => retry(),
        _ => status::verdict(answer, events, "url"),
    })
}

/// The event that the HEC names can never be accepted. Whether those before it were indexed is not documented, so all
/// the others are sent again: twice is better than never.
fn refused(code: &Code, invalid: Option<usize>, events: usize) -> Outcome {
    match invalid.filter(|invalid| *invalid < events && events > 1) {
        None => Outcome::All(status::refused(code.clone(), events)),
        Some(invalid) => Outcome::Each(
            (0..events)
                .map(|i| match i == invalid {
                    true => Verdict::Drop { code: code.clone() },
                    false => Verdict::Retry { code: code.clone(), after: None },
                })
                .collect(),
        ),
    }
}
