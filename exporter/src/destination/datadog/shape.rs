//! An event as a log of Datadog.

use std::borrow::Cow;

use events::Record;

use super::Config;
use super::config::keeps;
use crate::destination::renamed::{Leaf, Nested, Value};
use crate::destination::{Routed, Shaped, cut};
use crate::mapping::{Platform, level, outcome};

/// Most bytes of a canonical event that are sent. The intake cuts a log at 1 MB, anywhere and without a word; renaming
/// makes an event at most three times as long.
const ROOM: usize = 1_000_000 / 4;

/// The log. `timestamp` is in milliseconds, `duration` in nanoseconds.
#[must_use]
pub fn shape(config: &Config, event: &Routed<'_>) -> Shaped {
    let canonical = cut::json(event.canonical, ROOM);
    let fields = cut::fields(&canonical).unwrap_or_default();
    let record = event.record;
    let tags = tags(config, record);

    let mut log = Nested::of(&fields, Platform::Datadog);
    log.add("ddsource", Leaf::Text(&config.source));
    log.add("ddtags", Leaf::Text(&tags));
    log.add("service", Leaf::Text(&config.service));
    log.add("status", Leaf::Text(level(Platform::Datadog, record.severity, event.level).0));
    log.add("timestamp", Leaf::Value(Value::Integer(record.timestamp.timestamp().as_millisecond())));
    if let Some(outcome) = outcome(record) {
        log.add("evt.outcome", Leaf::Text(outcome));
    }
    let mut out = Vec::with_capacity(2 * canonical.len() + 512);
    log.write(&mut out);
    Shaped {
        bytes: out.into(),
        time: record.timestamp,
        group: Cow::Borrowed(""),
        cut: matches!(canonical, Cow::Owned(_)),
    }
}

/// One text with commas. Only what has few values is a tag: not a server or a tool, whose names a caller can make up.
fn tags(config: &Config, record: &Record) -> String {
    let mut tags = config.tags.clone();
    let pool = record.pool_name.as_ref().map(|name| ("pool", name.as_str()));
    for (name, value) in pool.into_iter().chain([("component", record.component_name.as_str())]) {
        if !tags.is_empty() {
            tags.push(',');
        }
        tags.push_str(name);
        tags.push(':');
        tags.extend(value.bytes().map(|byte| byte.to_ascii_lowercase()).map(|byte| match keeps(byte) {
            true => char::from(byte),
            false => '_',
        }));
    }
    tags
}
