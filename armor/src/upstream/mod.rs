//! The MCP servers behind the pool.
//!
//! Promises: each server is judged by itself, in both eras of the protocol; a dead one costs nothing but its
//! own tools. Must never follow a redirect, forward a caller's header that is not of the protocol, or hand a
//! server's text to a log.

pub mod catalogue;
pub mod client;
pub mod exchange;
pub mod fault;
pub mod handshake;
pub mod probe;
pub mod server;
pub mod session;

pub use fault::{Fault, FaultReason};
pub use handshake::Handshake;
pub use server::Server;
