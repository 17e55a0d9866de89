//! What the answer to a `_bulk` request means: one result for each event (Elasticsearch, "Bulk API", response body).

use std::borrow::Cow;

use serde::Deserialize;

use crate::answer::{Answer, Code, Outcome, Verdict};
use crate::status;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    create: Created<'a>,
}

#[derive(Deserialize)]
struct Created<'a> {
    status: u16,
    #[serde(borrow)]
    error: Option<Failure<'a>>,
    #[serde(borrow)]
    failure_store: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

/// The types of errors that are told by name; what else comes is told by its status.
const KINDS: [&str; 9] = [
    "cluster_block_exception",
    "document_parsing_exception",
    "es_rejected_execution_exception",
    "illegal_argument_exception",
    "index_not_found_exception",
    "mapper_parsing_exception",
    "security_exception",
    "strict_dynamic_mapping_exception",
    "version_conflict_engine_exception",
];

/// The outcome of a request.
#[must_use]
pub fn outcome(answer: &Answer<'_>, events: usize) -> Outcome {
    if !answer.status.is_success() {
        let field = if answer.status == http::StatusCode::NOT_FOUND { "dataStream" } else { "url" };
        return Outcome::All(status::verdict(answer, events, field));
    }
    let Ok(Body { items }) = serde_json::from_slice::<Body<'_>>(answer.body) else {
        // Of something else: a proxy, a login page.
        return Outcome::All(Verdict::Config { code: Code::fixed("bulk-no-items"), field: "url" });
    };
    if items.len() != events {
        // Which is of which event can not be said. Sending again is harmless: what is there is a conflict.
        return Outcome::All(Verdict::Retry { code: Code::fixed("bulk-items-missing"), after: None });
    }
    let verdicts: Vec<Verdict> = items.iter().map(|item| verdict(&item.create)).collect();
    if verdicts.iter().all(|verdict| *verdict == Verdict::Delivered) {
        return Outcome::All(Verdict::Delivered);
    }
    Outcome::Each(verdicts)
}

fn verdict(item: &Created<'_>) -> Verdict {
    let kind = item.error.as_ref().and_then(|error| KINDS.into_iter().find(|kind| *kind == error.kind));
    let code = || kind.map_or_else(|| Code::number("http", item.status.into()), Code::fixed);
    match (item.status, kind) {
        // Taken, but not where anybody looks for it: the data stream's mapping refused it (Elasticsearch 9.1).
        (200..300, _) if matches!(item.failure_store.as_deref(), Some("used" | "failed")) => {
            Verdict::Drop { code: Code::fixed("failure-store") }
        }
        (200..300, _) => Verdict::Delivered,
        // `_id` is there: a request before this one arrived, and its answer was lost.
        (409, Some("version_conflict_engine_exception")) => Verdict::Delivered,
        // A disk is full, or a node is starting: 403 or 429 by version.
        (_, Some("cluster_block_exception" | "es_rejected_execution_exception")) | (409 | 429 | 500.., _) => {
            Verdict::Retry { code: code(), after: None }
        }
        (401 | 403, _) => Verdict::Auth { code: code() },
        (404, _) => Verdict::Config { code: code(), field: "dataStream" },
        _ => Verdict::Drop { code: code() },
    }
}
