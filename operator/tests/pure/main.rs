//! Everything of the operator that needs no cluster: golden manifests, validation, the network matrix, status, audit events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit_changes;
mod audit_delivery;
mod audit_spool;
mod export_status;
mod exports;
mod golden;
mod input;
mod network;
mod refused;
mod server_status;
mod status;
