//! Everything of the operator that needs no cluster: golden manifests, validation, the network matrix, status.

mod golden;
mod input;
mod network;
mod refused;
mod status;
