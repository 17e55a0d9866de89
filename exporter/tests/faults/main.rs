//! What must not lose an event: killed and frozen exporters, a Redis that dies, fills up or comes back with less, platforms
//! that fail in every way. Real processes and a real Redis; each test compares sets of event ids.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod group;
mod hostile;
mod hour;
mod losses;
mod one_in_ten;
mod orphans;
mod patient;
mod poison;
#[allow(dead_code, reason = "another test uses the rest")]
#[path = "../delivery/receiver.rs"]
mod receiver;
mod redis_fails;
mod replicas;
mod rotation;
mod server;
#[allow(dead_code, reason = "another test uses the rest")]
#[path = "../process/support.rs"]
mod support;

use support::PATIENCE;
