//! What is done with: told to Redis, and counted.
//!
//! Promises: what Redis did not take is told again; what is lost is counted there in the same step. Must never tell the trail
//! of the loss of an event that tells of losses.

use bytes::Bytes;
use events::DroppedCause;
use jiff::Timestamp;

use super::Worker;
use super::batch::{Batch, Item};
use super::reading::READ;
use crate::answer::Code;
use crate::stream::{Dead, StreamError};

/// A dead letter to be.
pub struct Letter {
    id: String,
    event: Bytes,
    code: Code,
    loss: Option<(DroppedCause, Timestamp)>,
}

impl Worker {
    /// Tells Redis what is done with. What it does not take is told again.
    pub(super) async fn settle(&mut self) {
        let told = async {
            let page = |ids: &[String]| ids.iter().take(READ).cloned().collect::<Vec<_>>();
            while !self.delivered.is_empty() {
                let ids = page(&self.delivered);
                self.group.delivered(&ids.iter().map(String::as_str).collect::<Vec<_>>(), Timestamp::now()).await?;
                self.delivered.drain(..ids.len());
            }
            while !self.unwanted.is_empty() {
                let ids = page(&self.unwanted);
                self.group.skipped(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await?;
                self.tally.skipped(ids.len());
                self.unwanted.drain(..ids.len());
            }
            while let Some(Letter { id, event, code, loss }) = self.dead.last() {
                self.group.bury(&[Dead { id, event, loss: *loss }], code.as_str()).await?;
                self.dead.pop();
            }
            Ok::<(), StreamError>(())
        };
        if let Err(error) = told.await {
            self.redis_failed(&error).await;
        }
    }

    /// Nobody will ever take these.
    pub(super) fn bury(&mut self, batch: Batch, code: &Code, cause: DroppedCause) {
        self.memory.release(batch.held());
        for Item { id, event, shaped, of_losses } in batch.items {
            self.tally.dropped(cause, 1);
            // To tell the loss of an event that tells of losses by another one, which is lost in turn, would never end.
            let loss = (!of_losses).then(|| (cause, shaped.time.timestamp()));
            self.dead.push(Letter { id, event, code: code.clone(), loss });
        }
    }

    /// Nobody can shape this; its bytes are kept.
    pub(super) fn bury_unreadable(&mut self, id: String, event: Bytes, at: Timestamp) {
        self.tally.dropped(DroppedCause::Rejected, 1);
        let loss = Some((DroppedCause::Rejected, at));
        self.dead.push(Letter { id, event, code: Code::fixed("unreadable-event"), loss });
    }

    /// Counts what went before it was read.
    pub(super) fn lost(&self, count: u64) {
        if count > 0 {
            tracing::error!(count, "events were trimmed before they could be delivered");
            self.tally.dropped(DroppedCause::Trimmed, count);
        }
    }

    /// Counts what went after it was read.
    pub(super) fn possibly_lost(&self, count: u64) {
        if count > 0 {
            tracing::error!(count, "events were trimmed before they were acknowledged");
            self.tally.dropped(DroppedCause::TrimmedPending, count);
        }
    }
}
