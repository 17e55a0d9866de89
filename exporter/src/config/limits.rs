//! Ranges of the settings of a delivery: the same for the SiemExport and for the exporter.

use std::time::Duration;

use crate::destination::invalid::Invalid;
use crate::worker;

use super::Delivery;

/// Events per second, at most: `0` is no limit.
const MOST_PER_SECOND: u32 = 100_000;

impl Delivery {
    /// The settings, with the defaults for what is absent.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn checked(&self) -> Result<worker::Delivery, Invalid> {
        let default = worker::Delivery::default();
        let number = |field, value: Option<usize>, default, least, most| match value {
            None => Ok(default),
            Some(value) if (least..=most).contains(&value) => Ok(value),
            Some(_) => Err(Invalid::new(field, format!("must be from {least} to {most}"))),
        };
        let span = |field, value: Option<daemon::values::Span>, default, least: Duration, most: Duration| match value {
            None => Ok(default),
            Some(daemon::values::Span(value)) if (least..=most).contains(&value) => Ok(value),
            Some(_) => {
                let text = |duration| String::from(daemon::values::Span(duration));
                Err(Invalid::new(field, format!("must be from {} to {}", text(least), text(most))))
            }
        };
        let (ms, s, h) = (Duration::from_millis, Duration::from_secs, |hours: u64| Duration::from_secs(hours * 3_600));
        if self.rate_limit.is_some_and(|rate| rate > MOST_PER_SECOND) {
            return Err(Invalid::new("rateLimit", format!("must be from 0 to {MOST_PER_SECOND}")));
        }
        Ok(worker::Delivery {
            batch_events: number("batchEvents", self.batch_events, default.batch_events, 1, 10_000)?,
            batch_bytes: number("batchBytes", self.batch_bytes, default.batch_bytes, 16 << 10, 4 << 20)?,
            flush_interval: span("flushInterval", self.flush_interval, default.flush_interval, ms(10), s(60))?,
            timeout: span("timeout", self.timeout, default.timeout, s(1), s(60))?,
            max_retry_interval: span(
                "maxRetryInterval",
                self.max_retry_interval,
                default.max_retry_interval,
                s(1),
                s(600),
            )?,
            give_up_after: span("giveUpAfter", self.give_up_after, default.give_up_after, s(60), h(168))?,
            rate_limit: self.rate_limit.filter(|rate| *rate > 0),
            ..default
        })
    }
}
