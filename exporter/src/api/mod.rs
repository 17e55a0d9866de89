//! The exporter's API, which the operator uses.

pub mod wire;
