//! `elasticsearch`: the `_bulk` API of Elasticsearch and OpenSearch, into a data stream.
//!
//! Promises: documents follow the Elastic Common Schema; `_id` is the event's id, so that what is sent twice is there
//! once (until the data stream rolls over: then the same id is taken again). Assurance: Stored.
//!
//! Must never keep a `reason`: it repeats values of the event.

pub mod answer;
pub mod config;
pub mod request;
pub mod shape;

pub use config::{Config, Spec};
pub use request::Credential;
