//! The destinations that receive the canonical object: what they write is read back by parsers of their own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cef;
mod event_bridge;
mod golden;
mod rfc5424;
mod stdout;
mod sumo_logic;
mod support;
mod syslog;
mod webhook;
