//! Indexer acknowledgement: a request is delivered when the indexers have it, not when the HEC does.
//!
//! Promises: only `true` counts. `false` means pending or unknown alike, so a request that is never acknowledged is
//! sent again after [`RESEND_AFTER`]. Polls go to the HEC that gave the id: behind a load balancer that needs session
//! affinity.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Config;
use super::request::{Channel, Credential, headers};
use crate::answer::Answer;
use crate::destination::Request;

/// How often to ask (Splunk's Kafka connector).
pub const POLL_EVERY: Duration = Duration::from_secs(10);
/// When to give up on an acknowledgement and send again (Splunk's Kafka connector).
pub const RESEND_AFTER: Duration = Duration::from_secs(120);

/// The id in the answer to a request, when it was accepted.
#[must_use]
pub fn id(answer: &Answer<'_>) -> Option<u64> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "ackId")]
        id: u64,
    }
    serde_json::from_slice(answer.body).ok().filter(|_| answer.status.is_success()).map(|Body { id }| id)
}

/// Asks for the state of ids. `None` where the destination does not wait for acknowledgements.
#[must_use]
pub fn request(config: &Config, credential: &Credential, channel: &Channel, ids: &[u64]) -> Option<Request> {
    #[derive(Serialize)]
    struct Body<'a> {
        acks: &'a [u64],
    }
    let mut url = config.ack_url.clone()?;
    url.query_pairs_mut().append_pair("channel", channel.as_str());
    let body = Bytes::from(serde_json::to_vec(&Body { acks: ids }).ok()?);
    Some(Request { url, headers: headers(credential, Some(channel)), body, compress: false })
}

/// The ids that the indexers have; `None` for an answer that is none of the protocol.
#[must_use]
pub fn indexed(answer: &Answer<'_>) -> Option<Vec<u64>> {
    #[derive(Deserialize)]
    struct Body {
        acks: BTreeMap<u64, bool>,
    }
    let body: Body = serde_json::from_slice(answer.body).ok().filter(|_| answer.status.is_success())?;
    Some(body.acks.into_iter().filter_map(|(id, indexed)| indexed.then_some(id)).collect())
}
