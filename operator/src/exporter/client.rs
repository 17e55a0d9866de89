//! What is asked on the exporter's API.

use std::time::Duration;

use exporter::api::wire::{Added, Destinations, Test, TestOutcome, TestResult};
use secrecy::SecretString;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::admin::{Failure, Http};

/// Port of the exporter's API.
const PORT: u16 = 9091;
/// The exporter answers a test within 15 s, whatever the platform does.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);
const EVENTS_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a pool's exporter did not do what it was asked. It may have done it all the same when the answer was lost.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// The pool has no exporter.
    #[error("the pool has no exporter")]
    NoExporter,
    /// No Pod of it runs.
    #[error("no Pod of the exporter runs")]
    NoPod,
    /// Its token can not be read.
    #[error("the exporter's token can not be read")]
    NoToken,
    /// It refuses what it was sent, and will again.
    #[error("{0}")]
    Refused(String),
    /// It did not answer, or may answer otherwise later.
    #[error("{0}")]
    Failed(String),
}

impl From<Failure> for Unavailable {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::Status { code: 400 | 413 | 422, .. } => Unavailable::Refused(text),
            _ => Unavailable::Failed(text),
        }
    }
}

/// How the destinations stand.
pub(super) async fn destinations(http: &Http, address: &str, token: &SecretString) -> Result<Destinations, Failure> {
    http.get((address, PORT), "v1/destinations", token).await
}

/// Sends a test event.
pub(super) async fn test(
    http: &Http,
    address: &str,
    token: &SecretString,
    (export, destination, id): (&str, &str, &str),
) -> Result<TestResult, Failure> {
    let path = format!("v1/destinations/{export}/{destination}/test");
    match http.post((address, PORT), &path, token, &Test { id: id.to_owned() }, TEST_TIMEOUT).await {
        // The exporter can not set the destination up, which is an answer: asking again sends the others theirs again.
        Err(Failure::Status { code: 409, .. }) => Ok(TestResult {
            result: TestOutcome::Rejected,
            assurance: None,
            code: Some("invalid".to_owned()),
            field: None,
            milliseconds: 0,
        }),
        answer => answer,
    }
}

/// Adds events to the stream.
pub(super) async fn post_events(
    http: &Http,
    address: &str,
    token: &SecretString,
    events: &[&RawValue],
) -> Result<u64, Failure> {
    let added: Added = http.post((address, PORT), "v1/events", token, &events, EVENTS_TIMEOUT).await?;
    Ok(added.added)
}
