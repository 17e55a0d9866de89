//! What a worker is told about its destination, and what it says of it.

use std::time::Duration;

use events::Record;

use crate::answer::Code;

/// What all destinations of a replica together may hold in memory, in bytes; a single one may hold all of it.
pub const IN_FLIGHT: usize = 12 << 20;

/// How a destination is served: the `delivery` of its SiemExport.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Events of a request at most.
    pub batch_events: usize,
    /// Bytes of a request at most, before compression.
    pub batch_bytes: usize,
    /// How long the first event of a batch waits for others.
    pub flush_interval: Duration,
    /// Of one attempt.
    pub timeout: Duration,
    /// Longest time between two attempts.
    pub max_retry_interval: Duration,
    /// From when on, counted from the event, it is not sent again.
    pub give_up_after: Duration,
    /// What the destination holds in memory at most, in bytes.
    pub memory: usize,
    /// Events per second at most; `None`: no limit.
    pub rate_limit: Option<u32>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            batch_events: 500,
            batch_bytes: 1 << 20,
            flush_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            max_retry_interval: Duration::from_secs(30),
            give_up_after: Duration::from_secs(24 * 3600),
            memory: IN_FLIGHT,
            rate_limit: None,
        }
    }
}

/// What a destination wants of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The platform's level, where a severity map names one.
    pub level: Option<String>,
    /// The index that an override names.
    pub index: Option<String>,
}

/// Chooses the events that a destination wants.
pub type Router = dyn Fn(&Record) -> Option<Choice> + Send + Sync;

/// How it stands with a destination at this replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing has been sent yet.
    #[default]
    Idle,
    /// The last answer was good.
    Delivering,
    /// The last answer was not, and may be better next time.
    Retrying(Code),
    /// The credential is refused; everything is held.
    AuthRejected(Code),
    /// The platform refuses everything, because this field is wrong; everything is held.
    Rejected(Code, &'static str),
}
