//! What a server's answer means (OTLP, "OTLP/HTTP Response" and "OTLP/gRPC Response").
//!
//! Promises: what the protocol says not to retry is not sent again as it was. A refusal that names no event is narrowed
//! down by halves, so a server that fails on one event does not cost the others.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;

use crate::answer::{Answer, Code, Outcome, Verdict};
use crate::status;

/// The longest wait that a server can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Metadata whose name ends in `-bin` may be padded or not (gRPC over HTTP/2).
const BINARY: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The outcome of a request over HTTP.
#[must_use]
pub fn outcome(answer: &Answer<'_>, events: usize) -> Outcome {
    let code = || Code::number("http", i64::from(answer.status.as_u16()));
    Outcome::All(match answer.status.as_u16() {
        200..300 => return accepted(answer.body, events),
        // The only four that may be retried.
        429 | 502 | 503 | 504 => Verdict::Retry { code: code(), after: status::retry_after(answer.headers) },
        501 => Verdict::Config { code: code(), field: "url" },
        408 | 500.. => status::refused(code(), events),
        _ => status::verdict(answer, events, "url"),
    })
}

/// An answer to a request over gRPC, when its trailers are in.
#[derive(Clone, Copy, Debug)]
pub struct Grpc<'a> {
    /// `grpc-status`.
    pub status: u32,
    /// `grpc-status-details-bin`, as it was sent.
    pub details: Option<&'a str>,
    /// The message, without its frame.
    pub message: &'a [u8],
}

/// The outcome of a request over gRPC.
#[must_use]
pub fn grpc(answer: Grpc<'_>, events: usize) -> Outcome {
    let code = Code::number("grpc", answer.status.into());
    let after = answer.details.and_then(retry_info);
    Outcome::All(match answer.status {
        0 => return accepted(answer.message, events),
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
        1 | 4 | 10 | 11 | 14 | 15 => Verdict::Retry { code, after },
        // RESOURCE_EXHAUSTED: with RetryInfo the server will recover, without it the message is too large.
        8 if after.is_some() => Verdict::Retry { code, after },
        // PERMISSION_DENIED, UNAUTHENTICATED.
        7 | 16 => Verdict::Auth { code },
        // NOT_FOUND, UNIMPLEMENTED: not the service.
        5 | 12 => Verdict::Config { code, field: "url" },
        _ => status::refused(code, events),
    })
}

/// The body of a success. An empty one is a message without fields, which says that all is well. It is not said which
/// records a partial success leaves out, and it must not be sent again: so many of the batch count as refused, the last
/// ones.
fn accepted(body: &[u8], events: usize) -> Outcome {
    let Some(rejected) = rejected(body) else {
        // Of something else: a proxy, a login page.
        return Outcome::All(Verdict::Config { code: Code::fixed("otlp-no-response"), field: "url" });
    };
    let rejected = usize::try_from(rejected).unwrap_or(0).min(events);
    let refused = || Verdict::Drop { code: Code::fixed("otlp-partial-success") };
    match rejected {
        0 => Outcome::All(Verdict::Delivered),
        all if all == events => Outcome::All(refused()),
        _ => Outcome::Each(
            (0..events).map(|i| if i < events - rejected { Verdict::Delivered } else { refused() }).collect(),
        ),
    }
}

/// `partial_success.rejected_log_records`. Some servers answer in JSON whatever they are asked in.
fn rejected(body: &[u8]) -> Option<i64> {
    if body.first() == Some(&b'{') {
        let json: serde_json::Value = serde_json::from_slice(body).ok()?;
        let rejected = &json["partialSuccess"]["rejectedLogRecords"];
        // JSON of protobuf writes 64-bit integers as strings.
        return Some(rejected.as_i64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0));
    }
    let response = ExportLogsServiceResponse::decode(body).ok()?;
    Some(response.partial_success.map_or(0, |partial| partial.rejected_log_records))
}

/// `google.rpc.Status`, as far as it is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The `RetryInfo` of a status's details, at most an hour. One without a delay, or with 0, says to retry.
fn retry_info(details: &str) -> Option<Duration> {
    let status = RpcStatus::decode(BINARY.decode(details.trim()).ok()?.as_slice()).ok()?;
    let detail = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(detail.value.as_slice()).ok()?.delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    let nanos = u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999);
    Some(Duration::new(seconds, nanos).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(type_url: &str, delay: Option<Delay>) -> String {
        let value = RetryInfo { delay }.encode_to_vec();
        let status = RpcStatus { details: vec![Detail { type_url: type_url.into(), value }] };
        BINARY.encode(status.encode_to_vec())
    }

    #[test]
    fn retry_info_is_read_with_and_without_padding_and_bounded() {
        let retry = "type.googleapis.com/google.rpc.RetryInfo";
        let padded = details(retry, Some(Delay { seconds: 7, nanos: 500_000_000 }));
        assert_eq!(retry_info(&padded), Some(Duration::from_millis(7_500)));
        assert_eq!(retry_info(padded.trim_end_matches('=')), Some(Duration::from_millis(7_500)));
        assert_eq!(retry_info(&details(retry, Some(Delay { seconds: i64::MAX, nanos: -1 }))), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_info(&details(retry, Some(Delay { seconds: -7, nanos: 0 }))), Some(Duration::ZERO));
        assert_eq!(retry_info(&details(retry, None)), Some(Duration::ZERO));
        assert_eq!(retry_info(&details("type.googleapis.com/google.rpc.QuotaFailure", None)), None);
        assert_eq!(retry_info("%%%"), None);
    }
}
