//! What PutEvents answers: `{"FailedEntryCount":N,"Entries":[…]}`, one entry for each that was sent and in their order;
//! or an error of the JSON 1.1 protocol.

use serde::Deserialize;

use crate::answer::{Answer, Code, Outcome, Verdict};
use crate::status;

#[derive(Deserialize)]
struct PutEvents {
    #[serde(rename = "FailedEntryCount")]
    failed: u64,
    #[serde(rename = "Entries")]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "EventId")]
    id: Option<String>,
    #[serde(rename = "ErrorCode")]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Error {
    #[serde(rename = "__type")]
    kind: String,
}

/// The verdict on each entry.
#[must_use]
pub fn outcome(answer: &Answer<'_>, events: usize) -> Outcome {
    if !answer.status.is_success() {
        return Outcome::All(refusal(answer, events));
    }
    match serde_json::from_slice::<PutEvents>(answer.body) {
        Ok(PutEvents { failed, entries }) if entries.len() == events => {
            let verdicts: Vec<_> = entries.into_iter().map(entry).collect();
            // Who counts failures and shows none has not said which they are.
            if failed > 0 && verdicts.iter().all(|verdict| *verdict == Verdict::Delivered) {
                return Outcome::All(retry("unreadable-answer"));
            }
            Outcome::Each(verdicts)
        }
        _ => Outcome::All(retry("unreadable-answer")),
    }
}

const fn retry(code: &'static str) -> Verdict {
    Verdict::Retry { code: Code::fixed(code), after: None }
}

/// `PutEventsResultEntry.ErrorCode`, as the API's model documents it.
fn entry(Entry { id, error }: Entry) -> Verdict {
    let auth = |code| Verdict::Auth { code: Code::fixed(code) };
    let drop = |code| Verdict::Drop { code: Code::fixed(code) };
    match error.as_deref() {
        None if id.is_some() => Verdict::Delivered,
        None => retry("unreadable-answer"),
        Some("InternalFailure" | "InternalException") => retry("InternalFailure"),
        Some("ThrottlingException" | "Throttling") => retry("ThrottlingException"),
        Some("MalformedDetail") => drop("MalformedDetail"),
        Some("InvalidArgument") => drop("InvalidArgument"),
        Some("RedactionFailure") => drop("RedactionFailure"),
        Some("AccessDeniedException") => auth("AccessDeniedException"),
        Some("InvalidAccountIdException") => auth("InvalidAccountIdException"),
        Some("NotAuthorizedForSourceException") => auth("NotAuthorizedForSourceException"),
        Some("NotAuthorizedForDetailTypeException") => auth("NotAuthorizedForDetailTypeException"),
        // Not documented when this was written: what may still be delivered is not dropped.
        Some(_) => retry("unknown-entry-error"),
    }
}

/// An error of the whole request ("Common errors"), of which only the name is read.
fn refusal(answer: &Answer<'_>, events: usize) -> Verdict {
    let in_body = serde_json::from_slice::<Error>(answer.body).map(|error| error.kind).unwrap_or_default();
    let in_header = answer.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).unwrap_or_default();
    // `com.amazonaws.events#ThrottlingException`, `ThrottlingException:http://…`.
    let kind = if in_body.is_empty() { in_header } else { &in_body };
    let kind = kind.rsplit('#').next().unwrap_or_default();
    let kind = kind.split(':').next().unwrap_or_default();
    let auth = |code| Verdict::Auth { code: Code::fixed(code) };
    let after = status::retry_after(answer.headers);
    let retry = |code| Verdict::Retry { code: Code::fixed(code), after };
    match kind {
        "ThrottlingException" | "Throttling" | "RequestLimitExceeded" | "TooManyRequestsException" => {
            retry("ThrottlingException")
        }
        "InternalException" | "InternalFailure" => retry("InternalFailure"),
        "ServiceUnavailable" | "ServiceUnavailableException" => retry("ServiceUnavailable"),
        // The clocks differ, or the request was long on its way: the next one is signed anew.
        "RequestExpired" | "RequestAbortedException" | "RequestTimeoutException" => retry("RequestExpired"),
        "AccessDeniedException" | "NotAuthorized" => auth("AccessDeniedException"),
        "ExpiredTokenException" | "ExpiredToken" => auth("ExpiredTokenException"),
        "UnrecognizedClientException" | "InvalidClientTokenId" => auth("UnrecognizedClientException"),
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException" => auth("InvalidSignatureException"),
        "MissingAuthenticationToken" | "MissingAuthenticationTokenException" => auth("MissingAuthenticationToken"),
        "OptInRequired" => auth("OptInRequired"),
        "ResourceNotFoundException" => {
            Verdict::Config { code: Code::fixed("ResourceNotFoundException"), field: "eventBus" }
        }
        "UnknownOperationException" => {
            Verdict::Config { code: Code::fixed("UnknownOperationException"), field: "endpoint" }
        }
        "ValidationException" | "ValidationError" => status::refused(Code::fixed("ValidationException"), events),
        "SerializationException" => status::refused(Code::fixed("SerializationException"), events),
        "RequestEntityTooLargeException" => status::refused(Code::fixed("RequestEntityTooLargeException"), events),
        _ => status::verdict(answer, events, "endpoint"),
    }
}
