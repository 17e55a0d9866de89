//! `coralogix`: OTLP with Coralogix's key and its two resource attributes (coralogix.com/docs, "OpenTelemetry").
//!
//! Promises: the application is the pool and the subsystem is the component. Assurance: Accepted.

pub mod answer;
pub mod config;
pub mod request;
pub mod shape;

pub use config::{Config, Spec};
pub use request::Credential;
