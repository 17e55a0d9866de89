//! The destinations against real receivers: each is the vendor's own program or library, started here on a loopback
//! port, and what it received is read back from it. README.md says what each of them proves and what it can not.
//!
//! Not a part of `cargo test --workspace`, because the receivers must be there: `make test-receivers` installs them. A
//! receiver that is missing fails its test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../canonical/cef.rs"]
mod cef;
mod certificates;
mod event_bridge;
mod events_of_test;
mod open_search;
mod otlp;
#[path = "../renamed/reading.rs"]
#[allow(dead_code, reason = "shared with the tests of the encoders, which use more of it")]
mod reading;
#[path = "../canonical/rfc5424.rs"]
#[allow(dead_code, reason = "shared with the tests of the encoders, which use more of it")]
mod rfc5424;
mod running;
#[path = "../network/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the transports, which use more of it")]
mod stub;
#[path = "../canonical/support.rs"]
mod support;
mod syslog;
mod vendors;
mod webhook;
