//! Sentences for states and results. Pure.
//!
//! Must never hold a text that a platform sent: codes and fields are words of fixed sets, and whatever is none is left out.

use exporter::api::wire::{Destination, State, TestOutcome, TestResult};

/// What a state means for a person; `None` where nothing is wrong.
pub(super) fn of_state(reported: &Destination) -> Option<String> {
    let code = reported.last_error_code.as_deref().and_then(word);
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    let field = reported.field.as_deref().and_then(word);
    Some(match reported.state {
        State::Idle | State::Delivering | State::Disabled => return None,
        // Its code changes with every try.
        State::Retrying => "the last request failed and is tried again; events wait in the stream meanwhile".to_owned(),
        State::AuthRejected => {
            let what = field.unwrap_or("the Secret that the block names");
            format!("the platform refuses the credential{code}: correct {what}; events wait in the stream meanwhile")
        }
        State::Rejected => {
            let what = field.unwrap_or("the block");
            format!("the platform refuses every event{code}: correct {what}; events wait in the stream meanwhile")
        }
        State::Invalid => {
            let what = field.unwrap_or("the block");
            format!("the exporter can not set it up{code}: correct {what}; events wait in the stream meanwhile")
        }
    })
}

/// What became of a test event.
pub(super) fn of_test(result: &TestResult) -> String {
    let code = result.code.as_deref().and_then(word).map(|code| format!(" ({code})")).unwrap_or_default();
    match result.result {
        TestOutcome::Delivered => match result.assurance.as_deref() {
            Some("Stored") => "The platform says that the test event can be searched.".to_owned(),
            Some("Accepted") => "The platform says that it took the test event.".to_owned(),
            _ => "The test event was sent; this platform confirms nothing.".to_owned(),
        },
        TestOutcome::Rejected => match result.field.as_deref().and_then(word) {
            Some(field) => format!("The platform refused the test event{code}: correct {field}."),
            None => format!("The platform refused the test event{code}."),
        },
        TestOutcome::Unreachable => {
            format!("There was no answer to the test event{code}: check the address, the network and the certificates.")
        }
    }
}

/// A word of a fixed set, as the exporter's codes and fields are.
pub(super) fn word(text: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'[' | b']');
    ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then_some(text)
}
