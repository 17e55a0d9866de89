//! The content for the platforms agrees with what the exporter sends: a query on a field that no event has finds
//! nothing, and nobody notices.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod fields;
#[path = "../../examples/content/generated/mod.rs"]
mod generated;
mod queries;
#[path = "../renamed/reading.rs"]
#[allow(dead_code, reason = "shared with the destinations, which use more of it")]
mod reading;
mod sent;
#[path = "../canonical/support.rs"]
#[allow(dead_code, reason = "shared with the destinations, which use more of it")]
mod support;
