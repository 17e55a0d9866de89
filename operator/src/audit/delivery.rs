//! The task that brings events to the exporters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::sink::{Sink, SinkError};
use super::spool::Batch;
use super::trail::Trail;

/// Longest time that one request may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time that the last try may take, of all pools together.
const LAST_TRY: Duration = Duration::from_secs(3);
/// Pools that are posted to at the same time.
const PARALLEL: usize = 16;

/// Delivers until `stop`, and then tries once more what waits. It sleeps while nothing waits.
pub async fn deliver<S: Sink>(trail: Arc<Trail>, sink: S, stop: CancellationToken) {
    let mut posts = FuturesUnordered::new();
    loop {
        let free = PARALLEL.saturating_sub(posts.len());
        let (batches, next) = trail.spool(|spool| spool.take_due(Instant::now(), free));
        posts.extend(batches.into_iter().map(|batch| post(&sink, batch)));
        tokio::select! {
            () = stop.cancelled() => break,
            Some((batch, result)) = posts.next() => settle(&trail, &batch, result),
            () = trail.pushed() => {}
            () = until(next) => {}
        }
    }
    trail.spool(|spool| spool.hurry(Instant::now()));
    let last = async {
        loop {
            let free = PARALLEL.saturating_sub(posts.len());
            let (batches, _) = trail.spool(|spool| spool.take_due(Instant::now(), free));
            posts.extend(batches.into_iter().map(|batch| post(&sink, batch)));
            // What failed is due later, so that this ends.
            let Some((batch, result)) = posts.next().await else { return };
            settle(&trail, &batch, result);
        }
    };
    let ended = tokio::time::timeout(LAST_TRY, last).await.is_ok();
    let left = trail.spool(|spool| spool.wanted());
    if left > 0 {
        tracing::warn!(
            events = left,
            ended,
            "audit events of the operator are lost at the stop: no exporter took them"
        );
    }
}

async fn post<S: Sink>(sink: &S, batch: Batch) -> (Batch, Result<u64, SinkError>) {
    let result = match tokio::time::timeout(CALL_TIMEOUT, sink.post(&batch.pool, &batch.events)).await {
        Ok(result) => result,
        Err(_) => Err(SinkError::Unavailable),
    };
    (batch, result)
}

fn settle(trail: &Trail, batch: &Batch, result: Result<u64, SinkError>) {
    if let Err(error) = result {
        tracing::debug!(pool = &*batch.pool, events = batch.events.len(), %error, "audit events wait");
    }
    trail.spool(|spool| spool.settle(batch, result, Instant::now(), rand::random()));
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
