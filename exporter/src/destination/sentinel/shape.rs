//! An event as a row of ASIM AgentEvent.

use std::borrow::Cow;

use events::Moment;
use jiff::SignedDuration;

use crate::destination::cut::{self, Field};
use crate::destination::renamed::{Object, nanoseconds};
use crate::destination::{Routed, Shaped};
use crate::mapping::{Platform, level};

/// Most bytes of a canonical event that are sent. Azure Monitor cuts the value of a column at 64 KB, and
/// `AdditionalFields` is one value: half of it can not be too long.
const ROOM: usize = 32 * 1_024;

/// The row. `TimeGenerated` is the event's time; Azure Monitor replaces one of more than two days ago, so the times of
/// the schema itself say it too. An event is written when its call ends.
#[must_use]
pub fn shape(event: &Routed<'_>) -> Shaped {
    let canonical = cut::json(event.canonical, ROOM);
    let fields = cut::fields(&canonical).unwrap_or_default();
    let record = event.record;

    let mut out = Vec::with_capacity(2 * canonical.len() + 512);
    let mut row = Object::begin(&mut out);
    row.values(&fields, Platform::Asim, "AdditionalFields");
    let end = record.timestamp;
    let start = end.timestamp().checked_sub(SignedDuration::from_nanos(duration(&fields)));
    moment(&mut row, "EventStartTime", start.map_or(end, Moment::new));
    moment(&mut row, "EventEndTime", end);
    // The schema has no event without a count.
    if !fields.iter().any(|field| field.key == "repeat.count") {
        row.key("EventCount").push(b'1');
    }
    row.text("EventSchema", "AgentEvent");
    row.text("EventSchemaVersion", "1.0.0");
    row.text("EventVendor", "AI Gateway");
    row.text("EventProduct", "AI Gateway");
    row.text("EventSeverity", level(Platform::Asim, record.severity, event.level).0);
    row.end();
    Shaped {
        bytes: out.into(),
        time: record.timestamp,
        group: Cow::Borrowed(""),
        cut: matches!(canonical, Cow::Owned(_)),
    }
}

/// How long the call took, in nanoseconds; 0 where that is not said.
fn duration(fields: &[Field<'_>]) -> i64 {
    let field = fields.iter().find(|field| field.key == "duration.total_ms");
    field.and_then(|field| nanoseconds(field.json.get())).unwrap_or(0)
}

/// Writing a time to memory cannot fail.
fn moment(row: &mut Object<'_>, name: &str, at: Moment) {
    let _ = serde_json::to_writer(row.key(name), &at);
}
