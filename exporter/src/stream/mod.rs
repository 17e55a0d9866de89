//! The pool's audit stream in Redis: consumer groups, leases, exact counting of what is lost, dead letters.
//!
//! Promises: what is read stays pending until it is acknowledged or buried, whoever dies; an entry is claimed only from a
//! consumer whose lease has lapsed; every entry that a trim took before it was read is counted once, exactly. Must never
//! delete an entry of the stream but by [`Stream::trim`], nor make a group start later than where it was.
//!
//! Every step is one script, so that no two replicas see half of it. Redis 7.0 or later, or Valkey.

mod group;
mod keys;
mod link;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use daemon::redis::Settings;
pub use group::{Claimed, Dead, Entry, Group, Lost, Opened, Read};
pub use keys::Keys;
pub use link::StreamError;

use link::{Link, script};

/// How long a repeat of an event of [`Stream::emit`] is known to be one.
const EMITTED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// A connection to the stream of one pool.
pub struct Stream {
    link: Link,
    keys: Arc<Keys>,
}

/// How it stands with one group, whichever replica reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Entries that are not acknowledged; `None`: the group does not exist, or Redis can not tell.
    pub backlog: Option<u64>,
    /// Of these, entries that some consumer has read.
    pub pending: u64,
    /// Dead letters that are kept.
    pub dead: u64,
    /// Events that the platform has taken.
    pub delivered: u64,
    /// Events that the platform will never take.
    pub dropped: u64,
    /// Events that were trimmed before they were read.
    pub lost: u64,
    /// Events that were trimmed after they were read and before they were acknowledged.
    pub possibly_lost: u64,
    /// When the platform last took an event.
    pub last_delivered: Option<Timestamp>,
}

impl Stream {
    /// Connects.
    ///
    /// # Errors
    /// Redis can not be reached.
    pub async fn connect(settings: &Settings, keys: Arc<Keys>) -> Result<Self, StreamError> {
        Ok(Self { link: Link::connect(settings).await?, keys })
    }

    /// The group of a destination, read by this consumer.
    #[must_use]
    pub fn group(&self, destination: &str, consumer: &str) -> Group {
        Group::new(self.link.clone(), self.keys.clone(), destination, consumer)
    }

    /// Removes a group with its figures and dead letters: the destination is no longer named.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn remove(&mut self, destination: &str) -> Result<(), StreamError> {
        let keys = [self.keys.stream(), &self.keys.state(destination), &self.keys.dead(destination)];
        self.link
            .run::<u64>("removing a group", script!("remove"), &keys, |call| {
                call.arg(destination);
            })
            .await?;
        Ok(())
    }

    /// Removes from the stream what every group has acknowledged and what is older than `retain`, about: whole nodes of
    /// the stream only. Gives how many entries went.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn trim(&mut self, now: Timestamp, retain: Duration) -> Result<u64, StreamError> {
        let keep = now.as_millisecond() - i64::try_from(retain.as_millis()).unwrap_or(i64::MAX);
        let keep = format!("{}-0", keep.max(0));
        self.link
            .run("trimming", script!("trim"), &[self.keys.stream()], |call| {
                call.arg(keep);
            })
            .await
    }

    /// Adds an event unless one with its id was added before. Gives whether it was.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn emit(&mut self, event_id: &str, event: &[u8]) -> Result<bool, StreamError> {
        let keys = [self.keys.stream(), &self.keys.emitted(event_id)];
        let added: u64 = self
            .link
            .run("adding an event", script!("emit"), &keys, |call| {
                call.arg(event).arg(EMITTED_FOR.as_secs());
            })
            .await?;
        Ok(added == 1)
    }

    /// How it stands with a destination's group.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn state(&mut self, destination: &str) -> Result<State, StreamError> {
        let keys = [self.keys.stream(), &self.keys.state(destination), &self.keys.dead(destination)];
        let reply: (i64, u64, u64, std::collections::HashMap<String, u64>) = self
            .link
            .run("reading a state", script!("state"), &keys, |call| {
                call.arg(destination);
            })
            .await?;
        let (backlog, pending, dead, counters) = reply;
        let counter = |name: &str| counters.get(name).copied().unwrap_or_default();
        Ok(State {
            backlog: u64::try_from(backlog).ok(),
            pending,
            dead,
            delivered: counter("delivered"),
            dropped: counter("dropped"),
            lost: counter("lost"),
            possibly_lost: counter("possibly_lost"),
            last_delivered: counters
                .get("last_delivered_ms")
                .and_then(|ms| Timestamp::from_millisecond(i64::try_from(*ms).ok()?).ok()),
        })
    }
}
