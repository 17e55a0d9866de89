//! `splunk`: the HTTP Event Collector (HEC), and what speaks its protocol.
//!
//! Promises: events carry CIM field names. Assurance: Accepted; Stored where the destination waits for the indexers'
//! acknowledgement, which Splunk Cloud does not offer to clients like this one.

pub mod acknowledgement;
pub mod answer;
pub mod config;
pub mod request;
pub mod shape;

pub use config::{Config, Spec};
pub use request::{Channel, Credential};
