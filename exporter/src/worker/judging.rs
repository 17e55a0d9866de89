//! What an answer means for each event of a request: it is delivered, sent again, held, or given up.
//!
//! Promises: an event is given up only where the platform refuses it alone, or where it is too old; a refused credential, a
//! wrong setting and a row of refusals hold everything.

use std::time::Duration;

use events::DroppedCause;
use jiff::Timestamp;
use tokio::time::Instant;

use super::batch::Batch;
use super::{Condition, Worker};
use crate::answer::{Code, Outcome, Verdict};

/// How often a destination that refuses everything is asked again.
const PROBE: Duration = Duration::from_secs(30);
/// Single events that are refused in a row with one code are no poison, but a wrong mapping.
const POISON_RUN: u32 = 20;

impl Worker {
    /// A batch has its answer. One that was sent before this worker began anew is no longer held, and may be another
    /// replica's: that it was taken is told, and nothing else is done.
    pub(super) fn landed(&mut self, epoch: u64, batch: Batch, outcome: Outcome) {
        self.flying -= batch.items.len();
        if epoch == self.epoch {
            return self.judge(batch, outcome);
        }
        let mut verdicts = match outcome {
            Outcome::All(verdict) => vec![verdict; batch.items.len()],
            Outcome::Each(verdicts) => verdicts,
        }
        .into_iter();
        let taken = batch.items.into_iter().filter(|_| verdicts.next() == Some(Verdict::Delivered));
        let (ids, times): (Vec<_>, Vec<_>) = taken.map(|item| (item.id, item.shaped.time.timestamp())).unzip();
        self.tally.delivered(times.into_iter(), Timestamp::now());
        self.debts.delivered.extend(ids);
    }

    /// What became of a batch.
    fn judge(&mut self, batch: Batch, outcome: Outcome) {
        let now = Instant::now();
        match outcome {
            Outcome::All(verdict) => self.judge_all(batch, verdict, now),
            Outcome::Each(verdicts) => {
                // A platform that says less than it was asked for has not said that it took the rest.
                let missing = Verdict::Retry { code: Code::fixed("no-verdict"), after: None };
                // A platform that took others of the same request is set up rightly: these are no row of refusals. Some say
                // only how many they refused, so that sending one of them again would be another's repeat.
                let mixed = verdicts.contains(&Verdict::Delivered);
                let mut verdicts = verdicts.into_iter();
                for (verdict, part) in batch.divided(|| verdicts.next().unwrap_or_else(|| missing.clone())) {
                    match verdict {
                        Verdict::Drop { code } if mixed => self.bury(part, &code, DroppedCause::Rejected),
                        verdict => self.judge_all(part, verdict, now),
                    }
                }
            }
        }
    }

    fn judge_all(&mut self, batch: Batch, verdict: Verdict, now: Instant) {
        match verdict {
            Verdict::Delivered => {
                self.pace.went_well();
                self.poison = None;
                self.hold_until = None;
                self.say(Condition::Delivering);
                self.memory.release(batch.held());
                self.tally.delivered(batch.items.iter().map(|item| item.shaped.time.timestamp()), Timestamp::now());
                self.debts.delivered.extend(batch.items.into_iter().map(|item| item.id));
            }
            Verdict::Retry { code, after } => {
                let wait = self.pace.failed(after);
                // The platform asked for a pause, and not for one batch alone.
                self.not_before = self.not_before.max(after.map(|asked| now + asked));
                self.say(Condition::Retrying(code.clone()));
                self.later(batch, now + wait, &code);
            }
            Verdict::Split { code } if batch.items.len() > 1 => {
                let (one, other) = batch.halves();
                // At once: the halves are what was wanted.
                self.again.push_front((now, other));
                self.again.push_front((now, one));
                self.say(Condition::Retrying(code));
            }
            Verdict::Split { code } | Verdict::Drop { code } => self.drop_for_good(batch, code, now),
            Verdict::Auth { code } => {
                self.hold(batch, now);
                self.say(Condition::AuthRejected(code));
            }
            Verdict::Config { code, field } => {
                self.hold(batch, now);
                self.say(Condition::Rejected(code, field));
            }
        }
    }

    fn drop_for_good(&mut self, batch: Batch, code: Code, now: Instant) {
        let run = match &mut self.poison {
            Some((known, run)) if *known == code => {
                *run += 1;
                *run
            }
            poison => poison.insert((code.clone(), 1)).1,
        };
        if run >= POISON_RUN {
            // Behind the others: the next probe is another one.
            let place = self.again.partition_point(|(due, _)| *due <= now);
            self.again.insert(place, (now, batch));
            self.hold_until = Some(now + PROBE);
            self.say(Condition::Rejected(code, "events"));
            return;
        }
        self.bury(batch, &code, DroppedCause::Rejected);
    }

    /// Sends a batch again, but for what is too old by now.
    fn later(&mut self, batch: Batch, at: Instant, code: &Code) {
        // What is sent again is old, which is why somebody asked for it.
        let (batch, old) = match self.until {
            None => batch.older_than(Timestamp::now() - self.delivery.give_up_after),
            Some(_) => (batch, Batch::default()),
        };
        self.bury(old, code, DroppedCause::Expired);
        if !batch.items.is_empty() {
            let place = self.again.partition_point(|(due, _)| *due <= at);
            self.again.insert(place, (at, batch));
        }
    }

    /// Keeps a batch as the next probe.
    fn hold(&mut self, batch: Batch, now: Instant) {
        self.again.push_front((now, batch));
        self.hold_until = Some(now + PROBE);
    }

    fn say(&self, condition: Condition) {
        self.condition.send_if_modified(|before| {
            let differs = *before != condition;
            *before = condition;
            differs
        });
    }
}
