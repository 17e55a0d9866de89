//! What is done with: told to Redis, and counted.
//!
//! Promises: what Redis did not take is told again. Must never tell the loss of an event that tells of losses.

use bytes::Bytes;
use events::DroppedCause;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::Worker;
use super::batch::{Batch, Item};
use super::reading::READ;
use crate::answer::Code;
use crate::stream::{Dead, Group, Lost, StreamError};
use crate::tally::{Loss, Tally};

/// What Redis is still to be told.
#[derive(Default)]
pub(super) struct Debts {
    /// Entries that the platform has.
    pub(super) delivered: Vec<String>,
    /// Entries that the destination does not want.
    pub(super) unwanted: Vec<String>,
    /// Entries that nobody will ever take.
    pub(super) dead: Vec<(String, Bytes, Code)>,
}

/// Redis is being told; with what it has not taken.
pub(super) type Settling = BoxFuture<'static, (Debts, Result<(), StreamError>)>;

impl Debts {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.delivered.len() + self.unwanted.len() + self.dead.len()
    }

    fn extend(&mut self, others: Self) {
        self.delivered.extend(others.delivered);
        self.unwanted.extend(others.unwanted);
        self.dead.extend(others.dead);
    }

    /// Tells Redis as much as it takes.
    async fn pay(&mut self, group: &mut Group, tally: &Tally) -> Result<(), StreamError> {
        while !self.delivered.is_empty() {
            let page = self.delivered.len().min(READ);
            group.delivered(&self.delivered[..page], Timestamp::now()).await?;
            self.delivered.drain(..page);
        }
        while !self.unwanted.is_empty() {
            let page = self.unwanted.len().min(READ);
            group.skipped(&self.unwanted[..page]).await?;
            tally.skipped(page);
            self.unwanted.drain(..page);
        }
        while let Some((id, event, code)) = self.dead.last() {
            group.bury(&[Dead { id, event }], code.as_str()).await?;
            self.dead.pop();
        }
        Ok(())
    }
}

impl Worker {
    /// Begins to tell Redis what is done with, unless it is being told: nobody has to wait for that.
    pub(super) fn begin_settle(&mut self) {
        if !self.settling.is_empty() || self.debts.is_empty() {
            return;
        }
        let mut debts = std::mem::take(&mut self.debts);
        let (mut group, tally) = (self.group.clone(), self.tally.clone());
        self.telling = debts.len();
        self.settling.push(Box::pin(async move {
            let told = debts.pay(&mut group, &tally).await;
            (debts, told)
        }));
    }

    /// Redis was told. What it did not take is told again, with what comes next.
    pub(super) async fn settled(&mut self, (left, told): (Debts, Result<(), StreamError>)) {
        self.telling = 0;
        self.debts.extend(left);
        match told {
            Ok(()) => self.begin_settle(),
            Err(error) => self.redis_failed(&error).await,
        }
    }

    /// Tells Redis all that is done with.
    pub(super) async fn settle(&mut self) {
        self.begin_settle();
        // What was being told, and what came since.
        while let Some(told) = self.settling.next().await {
            self.settled(told).await;
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
            self.debts.dead.push((id, event, code.clone()));
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
