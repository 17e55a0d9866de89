//! Making an event fit.
//!
//! Promises: after [`fit`] the JSON has at most [`limits::EVENT_BYTES`], and `truncated` names every key
//! that lost something, here or where it entered. Keys are cut in the order of the tables from the
//! end; only what can be long is cut (texts to 64 bytes, lists entry by entry), because dropping a number
//! or a verdict would make no room and lose the fact. Must never cut a fixed value.

use std::borrow::Cow;

use ulid::Ulid;

use crate::{
    Class, Component, EventName, Message, Millis, Moment, Record, Severity, Text, TextList, Usd, limits, vocabulary,
};

/// A text is never cut below this many bytes, so that it can still be recognised.
const TEXT_FLOOR: usize = 64;

/// A value that may be too long.
pub(crate) trait Cut {
    /// Whether it has already lost something.
    fn was_cut(&self) -> bool {
        false
    }

    /// Tries to make `excess` bytes of room, and says how many bytes of content it gave.
    fn shrink(&mut self, excess: usize) -> usize {
        let _ = excess;
        0
    }
}

impl Cut for Text {
    fn was_cut(&self) -> bool {
        Text::was_cut(self)
    }

    fn shrink(&mut self, excess: usize) -> usize {
        let before = self.as_str().len();
        self.shorten(before.saturating_sub(excess).max(TEXT_FLOOR));
        before - self.as_str().len()
    }
}

impl<const MAX: usize> Cut for TextList<MAX> {
    fn was_cut(&self) -> bool {
        TextList::was_cut(self)
    }

    fn shrink(&mut self, excess: usize) -> usize {
        let mut given = 0;
        // One entry stays: an empty list would say that there was none.
        while given < excess && self.as_slice().len() > 1 {
            if let Some(last) = self.pop() {
                given += last.as_str().len() + 3;
            }
        }
        given
    }
}

macro_rules! fixed {
    ($($name:ty),+ $(,)?) => { $(impl Cut for $name {})+ };
}

fixed!(
    u16,
    u64,
    i64,
    Ulid,
    Cow<'static, str>,
    Vec<Cow<'static, str>>,
    Class,
    Component,
    EventName,
    Message,
    Millis,
    Moment,
    Severity,
    Usd,
    vocabulary::Action,
    vocabulary::ActionReason,
    vocabulary::AuthFailure,
    vocabulary::AuthMethod,
    vocabulary::ConfigSource,
    vocabulary::DroppedCause,
    vocabulary::LifecycleTransition,
    vocabulary::PoolPhase,
    vocabulary::ResourceKind,
    vocabulary::ResourceOperation,
    vocabulary::RouteCause,
    vocabulary::Status,
    vocabulary::UpstreamCause,
);

/// Cuts `record` until it fits and fills `truncated`. Returns its JSON.
pub(crate) fn fit(record: &mut Record) -> Vec<u8> {
    record.truncated = some(record.cut_keys());
    let mut json = record.to_json();
    // Each round cuts from the end what the last one found too much; escaped text and the growing
    // `truncated` can need another one. It ends because a round that gives nothing ends it.
    while json.len() > limits::EVENT_BYTES {
        let mut excess = json.len() - limits::EVENT_BYTES;
        let mut given = 0;
        for value in record.values().into_iter().rev() {
            if excess == 0 {
                break;
            }
            let part = value.shrink(excess);
            excess = excess.saturating_sub(part);
            given += part;
        }
        if given == 0 {
            break;
        }
        record.truncated = some(record.cut_keys());
        json = record.to_json();
    }
    json
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
