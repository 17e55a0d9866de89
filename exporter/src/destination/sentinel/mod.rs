//! `sentinel`: Microsoft Sentinel, by the Logs Ingestion API of Azure Monitor, version 2023-01-01.
//!
//! Promises: rows have the columns of ASIM AgentEvent 1.0.0; what it has no column for is in `AdditionalFields`.
//! Assurance: Accepted: a row that the data collection rule refuses is told in the table `DCRLogErrors` alone.

pub mod answer;
pub mod config;
pub mod request;
pub mod shape;
pub mod token;

pub use config::{Cloud, Config, Identity, Spec};
pub use request::Credential;
