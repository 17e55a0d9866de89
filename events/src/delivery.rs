//! What the exporter says about the way from the stream to a destination.
//!
//! Promises: each type has the keys of its row in the catalogue and no others. Must never hold a text that a platform sent.

use crate::{DroppedCause, Message, Moment, Record, Text};

/// `destination_failing`: a destination has taken nothing for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationFailing {
    /// `destination.name`: `SIEMEXPORT/DESTINATION`.
    pub destination: Text,
    /// `destination.cause`: the platform's documented code, or why it can not be reached.
    pub cause: Text,
}

impl DestinationFailing {
    pub(crate) const MESSAGE: Message = Message::template("A destination takes no events; they are kept.");

    pub(crate) fn fill(self, record: &mut Record) {
        record.destination_name = Some(self.destination);
        record.destination_cause = Some(self.cause);
    }
}

/// `destination_recovered`: a destination takes events again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRecovered {
    /// `destination.name`
    pub destination: Text,
}

impl DestinationRecovered {
    pub(crate) const MESSAGE: Message = Message::template("A destination takes events again.");

    pub(crate) fn fill(self, record: &mut Record) {
        record.destination_name = Some(self.destination);
    }
}

/// `backlog_at_risk`: what a destination has not taken fills most of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BacklogAtRisk {
    /// `destination.name`
    pub destination: Text,
}

impl BacklogAtRisk {
    pub(crate) const MESSAGE: Message =
        Message::template("The events that wait for a destination fill most of the stream; the oldest will be lost.");

    pub(crate) fn fill(self, record: &mut Record) {
        record.destination_name = Some(self.destination);
    }
}

/// `events_dropped` of the exporter: events that a destination will never get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveriesDropped {
    /// `destination.name`
    pub destination: Text,
    /// `dropped.count`: exactly how many, at least 1.
    pub count: u64,
    /// `dropped.from`: the time of the first of them, or of what came before it.
    pub from: Moment,
    /// `dropped.to`: the time of the last of them, or of what came after it.
    pub to: Moment,
    /// `dropped.cause`
    pub cause: DroppedCause,
}

impl DeliveriesDropped {
    pub(crate) const fn message(&self) -> Message {
        Message::template(match self.cause {
            DroppedCause::Trimmed => "Events were trimmed from the stream before a destination could take them.",
            DroppedCause::TrimmedPending => {
                "Events were trimmed from the stream before it was known whether a destination took them."
            }
            DroppedCause::Rejected => "Events were refused by a destination for good, and are dead letters.",
            DroppedCause::Expired => "Events were too old to be sent to a destination again, and are dead letters.",
            DroppedCause::QueueFull
            | DroppedCause::RedisUnavailable
            | DroppedCause::RedisFull
            | DroppedCause::RedisLost => "Events did not reach a destination.",
        })
    }

    pub(crate) fn fill(self, record: &mut Record) {
        record.destination_name = Some(self.destination);
        record.dropped_count = Some(self.count.max(1));
        record.dropped_from = Some(self.from);
        record.dropped_to = Some(self.to.max(self.from));
        record.dropped_cause = Some(self.cause);
    }
}

/// `test_event`: somebody asked whether a destination works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestEvent {
    /// `destination.name`
    pub destination: Text,
    /// `test.id`
    pub test: Text,
}

impl TestEvent {
    pub(crate) const MESSAGE: Message = Message::template("A test event: whoever reads it gets the others too.");

    pub(crate) fn fill(self, record: &mut Record) {
        record.destination_name = Some(self.destination);
        record.test_id = Some(self.test);
    }
}
