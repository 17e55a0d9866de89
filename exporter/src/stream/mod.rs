//! The pool's audit stream in Redis: consumer groups, leases, exact counting of what is lost, dead letters.
//!
//! Promises: what is read stays pending until it is acknowledged or buried, whoever dies; an entry is claimed only from a
//! consumer whose lease has lapsed; every entry that a trim took before it was read is counted once, exactly. Must never
//! delete an entry of the stream but by [`Stream::trim`], nor make a group start later than where it was.
//!
//! Every step is one script, so that no two replicas see half of it. Redis 7.0 or later, or Valkey.

mod bell;
mod figures;
mod group;
mod keys;
mod link;
mod loss;
mod replay;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

pub use bell::Bell;
pub use daemon::redis::Settings;
pub use figures::{Note, State};
pub use group::{Claimed, Dead, Entry, Group, Opened, Read};
pub use keys::Keys;
pub use link::StreamError;
pub use loss::Loss;
pub use replay::{Again, Replayed};

use link::{Link, script};

/// How long a repeat of an event of [`Stream::emit`] is known to be one.
const EMITTED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// A connection to the stream of one pool; clones share it.
#[derive(Clone)]
pub struct Stream {
    link: Link,
    keys: Arc<Keys>,
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
}
