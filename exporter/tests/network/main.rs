//! What goes over a network, against real receivers on this machine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod grpc;
mod http;
mod proxy;
mod registry;
mod splunk;
mod support;
mod syslog;
mod tokens;
