//! What is done with: told to Redis, and counted.
//!
//! Promises: what Redis did not take is told again. Must never tell the loss of an event that tells of losses.

use events::DroppedCause;
use jiff::Timestamp;

use super::Worker;
use super::batch::{Batch, Item};
use super::reading::READ;
use crate::answer::Code;
use crate::stream::{Dead, Lost, StreamError};
use crate::tally::Loss;

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
            while let Some((id, event, code)) = self.dead.last() {
                self.group.bury(&[Dead { id, event }], code.as_str()).await?;
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
            // The loss of an event that tells of losses is told by the metric alone: to tell it by another event, which is
            // lost in turn, would never end.
            if !of_losses {
                self.count_dead(cause, shaped.time.timestamp());
            }
            self.dead.push((id, event, code.clone()));
        }
    }

    /// Counts one that nobody will take, by its time.
    pub(super) fn count_dead(&self, cause: DroppedCause, at: Timestamp) {
        self.tally.lost(Loss { cause, count: 1, from: at, to: at });
    }

    /// Counts what went before it was read.
    pub(super) fn lost(&self, lost: Option<Lost>) {
        if let Some(Lost { count, from, to }) = lost {
            tracing::error!(count, "events were trimmed before they could be delivered");
            let to = to.unwrap_or_else(Timestamp::now);
            self.tally.lost(Loss { cause: DroppedCause::Trimmed, count, from, to });
        }
    }

    /// Counts what went after it was read.
    pub(super) fn possibly_lost(&self, count: u64) {
        if count > 0 {
            tracing::error!(count, "events were trimmed before they were acknowledged");
            let now = Timestamp::now();
            self.tally.lost(Loss { cause: DroppedCause::TrimmedPending, count, from: now, to: now });
        }
    }
}
