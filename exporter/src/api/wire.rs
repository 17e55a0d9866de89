//! The messages of the API, the same for both sides.
//!
//! Must never hold a text that a platform sent: codes and fields are from fixed sets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The answer to `GET /v1/destinations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destinations {
    /// Of the running configuration.
    pub revision: String,
    /// Why a newer configuration is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Of the files of the secrets: changes when one of them does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_revision: Option<String>,
    /// The exports.
    pub exports: Vec<Export>,
    /// Their destinations.
    pub destinations: Vec<Destination>,
}

/// One export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// Name of the SiemExport.
    pub name: String,
    /// Events that no route took.
    pub unrouted: u64,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// `EXPORT/DESTINATION`.
    pub id: String,
    /// How it stands.
    pub state: State,
    /// What an acknowledgement is worth: `Sent`, `Accepted`, `Stored`. Absent for one that could not be set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assurance: Option<String>,
    /// When the platform last took an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_delivered_time: Option<Timestamp>,
    /// Events that the platform has taken.
    pub delivered: u64,
    /// Events that the platform will never take.
    pub dropped: u64,
    /// Events that were trimmed before they were read.
    pub lost: u64,
    /// Events that were trimmed after they were read and before they were acknowledged.
    pub possibly_lost: u64,
    /// Events that wait; absent: Redis can not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u64>,
    /// Dead letters that are kept.
    pub dead: u64,
    /// The code of the last answer, where it was no success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_code: Option<String>,
    /// The field that is wrong, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The newest replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

/// How it stands with a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[allow(missing_docs)]
pub enum State {
    #[default]
    Idle,
    Delivering,
    Disabled,
    Retrying,
    Rejected,
    AuthRejected,
    Invalid,
}

impl State {
    /// All of them, the worst last.
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::Delivering,
        Self::Disabled,
        Self::Retrying,
        Self::Rejected,
        Self::AuthRejected,
        Self::Invalid,
    ];

    /// As it stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Delivering => "Delivering",
            Self::Disabled => "Disabled",
            Self::Retrying => "Retrying",
            Self::Rejected => "Rejected",
            Self::AuthRejected => "AuthRejected",
            Self::Invalid => "Invalid",
        }
    }
}

/// How far a replay is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Of the spec.
    pub id: String,
    /// Events that the platform has taken again.
    pub delivered: u64,
    /// Whether all are done with.
    pub done: bool,
}

/// What `POST /v1/destinations/EXPORT/DESTINATION/test` is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Test {
    /// `test.id` of the event.
    pub id: String,
}

/// What became of a test event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// In one word.
    pub result: TestOutcome,
    /// What the acknowledgement is worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assurance: Option<String>,
    /// The platform's documented code, or the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The field that is wrong, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

/// What became of a test event, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[allow(missing_docs)]
pub enum TestOutcome {
    Delivered,
    Rejected,
    Unreachable,
}

/// The answer to `POST /v1/events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Added {
    /// Events that were not in the stream yet.
    pub added: u64,
}

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Refused {
    /// What is wrong, and what to write instead.
    pub error: String,
}
