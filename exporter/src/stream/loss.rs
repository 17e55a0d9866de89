//! What a destination will not get, as it is told to the trail.
//!
//! Promises: every loss is counted in the step that makes it one, and how much of that was told is counted in the step that
//! tells it; so whichever replica lives tells what another one left, and none tells what was told.

use std::collections::HashMap;

use events::DroppedCause;
use jiff::Timestamp;

use super::Stream;
use super::link::{StreamError, script};

/// Events that a destination will not get, and that the trail was not told of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub cause: DroppedCause,
    /// How many were told before, since there is the group.
    pub told: u64,
    /// How many there were in all: more than were told.
    pub total: u64,
    /// The time of the first, or of what came before it.
    pub from: Timestamp,
    /// The time of the last, or of what came after it.
    pub to: Timestamp,
}

impl Stream {
    /// What was not told yet of a destination.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn untold(&mut self, destination: &str) -> Result<Vec<Loss>, StreamError> {
        let fields: HashMap<String, String> =
            self.link.run("reading losses", script!("untold"), &[&self.keys.state(destination)], |_| {}).await?;
        let loss = |cause: DroppedCause| {
            let number = |name: &str| fields.get(&format!("{name}:{}", cause.as_str()))?.parse::<i64>().ok();
            let count = |name| number(name).and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
            let time = |name| number(name).and_then(|ms| Timestamp::from_millisecond(ms).ok());
            let from = time("loss_from").unwrap_or(Timestamp::UNIX_EPOCH);
            let to = time("loss_to").unwrap_or_else(Timestamp::now);
            Loss { cause, told: count("told"), total: count("loss"), from, to }
        };
        Ok(DroppedCause::ALL.iter().copied().map(loss).filter(|loss| loss.total > loss.told).collect())
    }

    /// Adds the event that tells a loss, unless it was told meanwhile. Gives whether it was added.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn tell(&mut self, destination: &str, loss: &Loss, event: &[u8]) -> Result<bool, StreamError> {
        let keys = [self.keys.stream(), &self.keys.state(destination)];
        let added: u64 = self
            .link
            .run("telling a loss", script!("tell"), &keys, |call| {
                call.arg(loss.cause.as_str()).arg(loss.told).arg(loss.total).arg(event);
            })
            .await?;
        Ok(added == 1)
    }
}
