//! The destinations that rename keys: what they write is read back, and holds every value of the canonical event.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod coralogix;
mod datadog;
mod elasticsearch;
#[path = "../canonical/golden.rs"]
mod golden;
mod otlp;
mod reading;
mod sentinel;
mod splunk;
#[path = "../canonical/support.rs"]
#[allow(dead_code, reason = "shared with the other destinations, which use more of it")]
mod support;
