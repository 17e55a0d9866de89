//! Armor as its users see it: the real binary, real MCP clients and servers, a real Redis.
//!
//! One test binary, so that it is linked once. Servers that are made here are doubles, and only for what a real
//! one does not do: faults, exact bytes, exact times. They are named so.

// Everything here is a test: what can not be unwrapped fails it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

mod admin;
mod auth;
mod bytes;
mod count;
mod drain;
mod eras;
mod faults;
mod flood;
mod interop;
mod lists;
mod reload;
mod room;
mod sessions;
mod streams;
mod tls;
