//! What the tests of several crates need. A part of no program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod redis_server;
