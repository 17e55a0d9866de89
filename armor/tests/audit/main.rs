//! The audit trail against a real Redis that is killed, frozen, filled, and comes back with less.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod calls;
mod flood;
mod less;
mod outage;
mod room;
mod trail;
