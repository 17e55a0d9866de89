//! What an HTTP status means where a platform documents no more than HTTP does.
//!
//! Promises: nothing that can still be delivered is dropped, so what is unknown is held or tried again.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;

use crate::answer::{Answer, Code, Verdict};

/// The longest wait that an answer can ask for: no server may silence its own destination for long.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The verdict of a status alone. `field` is what to look at where the place is wrong: usually `url`.
#[must_use]
pub fn verdict(answer: &Answer<'_>, events: usize, field: &'static str) -> Verdict {
    let status = answer.status;
    let code = Code::number("http", i64::from(status.as_u16()));
    match status {
        _ if status.is_success() => Verdict::Delivered,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            refused(code, events)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Verdict::Auth { code }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Retry { code, after: retry_after(answer.headers) }
        }
        _ if status.is_server_error() => Verdict::Retry { code, after: retry_after(answer.headers) },
        // A redirect is not followed, and 404, 405 and their like say that this is not the place.
        _ => Verdict::Config { code, field },
    }
}

/// A request that was refused for its content.
#[must_use]
pub fn refused(code: Code, events: usize) -> Verdict {
    if events > 1 { Verdict::Split { code } } else { Verdict::Drop { code } }
}

/// `Retry-After` (RFC 9110 10.2.3): seconds, or a date, which is taken relative to the answer's own `Date` so that no
/// two clocks need to agree. At most an hour.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = http_date(headers.get(header::DATE)?.to_str().ok()?)?;
            Duration::try_from(http_date(text)?.duration_since(date)).ok()?
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; the two obsolete forms are not sent any more.
fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn wait_is_read_in_both_forms_and_bounded() {
        let after = |pairs: &[_]| retry_after(&headers(pairs));
        assert_eq!(after(&[("retry-after", "120")]), Some(Duration::from_secs(120)));
        assert_eq!(after(&[("retry-after", "99999999999")]), Some(MAX_RETRY_AFTER));
        assert_eq!(after(&[("retry-after", "-3")]), None);
        assert_eq!(after(&[("retry-after", "soon")]), None);
        assert_eq!(after(&[]), None);
        let date = ("date", "Sat, 21 Nov 2026 07:13:00 GMT");
        assert_eq!(after(&[date, ("retry-after", "Sat, 21 Nov 2026 07:14:30 GMT")]), Some(Duration::from_secs(90)));
        // A date that has passed says that now is fine; one without a reference says nothing.
        assert_eq!(after(&[date, ("retry-after", "Sat, 21 Nov 2026 07:12:30 GMT")]), None);
        assert_eq!(after(&[("retry-after", "Sat, 21 Nov 2026 07:14:30 GMT")]), None);
    }
}
