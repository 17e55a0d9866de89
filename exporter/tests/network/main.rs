//! What goes over a network, against real receivers on this machine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod http;
mod support;
mod syslog;
