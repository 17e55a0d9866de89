//! Numbers as the schema writes them.
//!
//! Promises: what is written can be read back equal. Must never write a value that JSON cannot hold.

use std::{borrow::Cow, time::Duration};

use jiff::{Timestamp, ToSpan as _};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time in UTC with milliseconds, written as RFC 3339 (`2026-11-21T07:13:00.250Z`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Timestamp);

impl Moment {
    /// What is finer than a millisecond is dropped, so that a written moment reads back equal.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        let excess = i64::from(at.subsec_nanosecond()).rem_euclid(1_000_000);
        Self(at.checked_sub(excess.nanoseconds()).unwrap_or(at))
    }

    /// Milliseconds since 1970, 0 for what is earlier: the time part of a ULID.
    #[must_use]
    pub fn unix_ms(self) -> u64 {
        u64::try_from(self.0.as_millisecond()).unwrap_or(0)
    }

    /// The time itself.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(Timestamp::deserialize(deserializer)?))
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "RFC 3339 in UTC with milliseconds.",
            "type": "string", "format": "date-time",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        })
    }
}

/// A duration in milliseconds with 3 decimals. Held as whole microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(u64);

/// Up to here (35 years in microseconds) a double holds the thousandth part of each whole number apart
/// from its neighbours, with room for a reader that rounds badly.
const MAX_MICROS: u64 = 1 << 50;

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).map_or(MAX_MICROS, |us| us.min(MAX_MICROS)))
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1_000.0)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ms = f64::deserialize(deserializer)?;
        if !(0.0..=MAX_MICROS as f64 / 1_000.0).contains(&ms) {
            return Err(serde::de::Error::custom("expected milliseconds from 0 to 35 years"));
        }
        Ok(Self((ms * 1_000.0).round() as u64))
    }
}

impl JsonSchema for Millis {
    fn schema_name() -> Cow<'static, str> {
        "Millis".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "Milliseconds, 3 decimals.", "type": "number", "minimum": 0})
    }
}

/// An amount of US dollars as a server reported it, with 9 decimals. Held as whole billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(u64);

/// As [`MAX_MICROS`]: a million dollars.
const MAX_NANOS: u64 = 1 << 50;

impl Usd {
    /// `None` for what cannot be the cost of a call: not a number, below 0, a million or more.
    #[must_use]
    pub fn new(amount: f64) -> Option<Self> {
        let nanos = (amount * 1e9).round();
        (0.0..=MAX_NANOS as f64).contains(&nanos).then_some(Self(nanos as u64))
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1e9)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("expected an amount from 0 to a million"))
    }
}

impl JsonSchema for Usd {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Usd".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": 0})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moment_is_written_in_utc_with_three_decimals() {
        let written = |text: &str| {
            let at: Timestamp = text.parse().unwrap();
            serde_json::to_string(&Moment::new(at)).unwrap()
        };
        assert_eq!(written("2026-11-21T09:13:00+02:00"), r#""2026-11-21T07:13:00.000Z""#);
        assert_eq!(written("2026-11-21T07:13:00.2509Z"), r#""2026-11-21T07:13:00.250Z""#);
    }

    #[test]
    fn duration_is_written_in_milliseconds_with_at_most_three_decimals() {
        let millis = Millis::from(Duration::from_nanos(12_345_678));
        assert_eq!(serde_json::to_string(&millis).unwrap(), "12.345");
    }

    proptest! {
        #[test]
        fn any_duration_reads_back_equal(us in 0..=MAX_MICROS) {
            let millis = Millis(us);
            let json = serde_json::to_string(&millis).unwrap();
            prop_assert_eq!(serde_json::from_str::<Millis>(&json).unwrap(), millis);
        }

        #[test]
        fn any_amount_is_absent_or_reads_back_equal(amount in any::<f64>(), nanos in 0..=MAX_NANOS) {
            for usd in [Usd::new(amount), Some(Usd(nanos))].into_iter().flatten() {
                let json = serde_json::to_string(&usd).unwrap();
                prop_assert_eq!(serde_json::from_str::<Usd>(&json).unwrap(), usd);
            }
        }

        #[test]
        fn any_moment_reads_back_equal(s in -30_000_000_000i64..250_000_000_000, ns in 0..1_000_000_000i32) {
            let moment = Moment::new(Timestamp::new(s, ns).unwrap());
            let json = serde_json::to_string(&moment).unwrap();
            prop_assert_eq!(serde_json::from_str::<Moment>(&json).unwrap(), moment);
        }
    }
}
