//! The exporter's API, which the operator uses.

pub(crate) mod server;
pub mod wire;
