//! Armor: the MCP gateway that a Pool runs.
//!
//! Promises: a thin JSON-RPC pass-through in which arguments, results and unknown fields arrive byte for byte;
//! one audit event per authenticated tool call. Must never hold state that another replica would need to
//! serve the next request, forward a caller's credential, or write a secret or an argument's value to a log.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod endpoint;
pub mod gateway;
pub mod host;
pub mod mcp;
pub mod metrics;
pub mod process;
mod reload;
pub mod session;
pub mod stream;
mod tls;
pub mod upstream;
