//! `sumoLogic`: JSON lines to an HTTP Logs and Metrics Source, whose URL is the credential.
//!
//! Promises: the URL is nowhere but in the request. Assurance: Sent: a source answers 200 while an ingest budget drops
//! data.

pub mod answer;
pub mod config;
pub mod request;
pub mod shape;

pub use config::{Config, Spec};
pub use request::Credential;
