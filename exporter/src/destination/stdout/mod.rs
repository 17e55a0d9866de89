//! `stdout`: one line of canonical JSON per event, on the standard output of the exporter's Pod, for log collectors.
//!
//! Promises: nothing but events is written there; the exporter's own log goes to standard error. Assurance: Sent.

pub mod answer;
pub mod config;
pub mod request;
pub mod shape;

pub use config::{Config, Spec};
