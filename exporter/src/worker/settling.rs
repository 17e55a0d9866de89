//! What is done with: told to Redis, and counted.
//!
//! Promises: what Redis did not take is told again; what is lost is counted there in the same step. Must never tell the trail
//! of the loss of an event that tells of losses.

use bytes::Bytes;
use events::DroppedCause;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::batch::{Batch, Item};
use super::reading::READ;
use super::{Worker, beside};
use crate::answer::Code;
use crate::stream::{Dead, Group, StreamError};
use crate::tally::Tally;

/// A dead letter to be.
pub(super) struct Letter {
    id: String,
    event: Bytes,
    code: Code,
    loss: Option<(DroppedCause, Timestamp)>,
}

/// What Redis is still to be told.
#[derive(Default)]
pub(super) struct Debts {
    /// Entries that the platform has.
    pub(super) delivered: Vec<String>,
    /// Entries that the destination does not want.
    pub(super) unwanted: Vec<String>,
    /// Entries that nobody will ever take.
    pub(super) dead: Vec<Letter>,
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
        while let Some(Letter { id, event, code, loss }) = self.dead.last() {
            group.bury(&[Dead { id, event, loss: *loss }], code.as_str()).await?;
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
        self.settling.push(beside(async move {
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
        // What is being told already may fail for what was so then.
        while let Some(told) = self.settling.next().await {
            self.settled(told).await;
        }
        self.begin_settle();
        while let Some(told) = self.settling.next().await {
            self.settled(told).await;
        }
    }

    /// Nobody will ever take these.
    pub(super) fn bury(&mut self, batch: Batch, code: &Code, cause: DroppedCause) {
        self.memory.release(batch.held());
        for Item { id, event, shaped, of_losses } in batch.items {
            self.tally.dropped(cause, 1);
            // To tell the loss of an event that tells of losses by another one, which is lost in turn, would never end.
            let loss = (!of_losses).then(|| (cause, shaped.time.timestamp()));
            self.debts.dead.push(Letter { id, event, code: code.clone(), loss });
        }
    }

    /// Nobody can shape this; its bytes are kept.
    pub(super) fn bury_unreadable(&mut self, id: String, event: Bytes, at: Timestamp) {
        self.tally.dropped(DroppedCause::Rejected, 1);
        let loss = Some((DroppedCause::Rejected, at));
        self.debts.dead.push(Letter { id, event, code: Code::fixed("unreadable-event"), loss });
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
