//! When a request is made, and of what.
//!
//! Promises: nothing is sent without the lease, nor more at the same time than the pace allows, nor before the platform asked
//! for it.

use events::DroppedCause;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::Instant;

use super::batch::Batch;
use super::{Sending, Worker};
use crate::answer::Code;
use crate::destination::Shaped;

impl Worker {
    /// How many requests there may be at the same time.
    pub(super) fn parallel(&self) -> usize {
        match (self.group.holds_lease(), self.hold_until) {
            // Somebody else may be sending the same.
            (false, _) => 0,
            (true, Some(_)) => 1,
            (true, None) => self.pace.parallel(),
        }
    }

    /// Starts as many requests as the pace allows.
    pub(super) fn send(&mut self, sending: &mut FuturesUnordered<Sending>) {
        let now = Instant::now();
        let holding = self.hold_until.is_some();
        if self.hold_until.is_some_and(|until| now < until) || self.not_before.is_some_and(|until| now < until) {
            return;
        }
        while sending.len() < self.parallel() {
            if self.bucket.as_mut().is_some_and(|bucket| bucket.empty_until(now).is_some()) {
                return;
            }
            let pressed = self.is_pressed(sending);
            // After a row of refused events another one shows whether those were poison, or all are refused.
            let other = match holding && self.poison.is_some() {
                true => self.waiting.take(now, true, pressed),
                false => None,
            };
            let due = self.again.front().is_some_and(|(at, _)| *at <= now);
            let again = || due.then(|| self.again.pop_front()).flatten().map(|(_, batch)| batch);
            let Some(batch) = other.or_else(again).or_else(|| self.waiting.take(now, holding, pressed)) else { return };
            // A platform that takes nothing older says that it took it all the same.
            let (batch, old) = match self.platform.max_give_up_after() {
                Some(most) => batch.older_than(Timestamp::now() - most),
                None => (batch, Batch::default()),
            };
            self.bury(old, &Code::fixed("too-old"), DroppedCause::Expired);
            if batch.items.is_empty() {
                continue;
            }
            self.flying += batch.items.len();
            if let Some(bucket) = &mut self.bucket {
                bucket.take(batch.items.len());
            }
            let (platform, timeout, tally) = (self.platform.clone(), self.delivery.timeout, self.tally.clone());
            let epoch = self.epoch;
            sending.push(Box::pin(async move {
                let began = Instant::now();
                let shaped: Vec<Shaped> = batch.items.iter().map(|item| item.shaped.clone()).collect();
                let outcome = platform.send(&shaped, Timestamp::now(), timeout).await;
                tally.request(&outcome, began.elapsed());
                (epoch, batch, outcome)
            }));
        }
    }

    /// Whether nothing more comes to what waits: there is no memory for it, and none is on its way to become free.
    fn is_pressed(&self, sending: &FuturesUnordered<Sending>) -> bool {
        sending.is_empty() && self.again.is_empty() && !self.memory.expects() && self.memory.room() == 0
    }
}
