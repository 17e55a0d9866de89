//! `otlp`: OpenTelemetry log records, over HTTP/protobuf or gRPC (OTLP 1.11, `docs/specification.md`).
//!
//! Promises: an event is a log record with the attributes of the semantic conventions and a severity number; its
//! `log.record.uid` is the event's id. What a server says not to retry is not retried. Assurance: Accepted.

pub mod answer;
pub mod config;
mod protobuf;
pub mod request;
pub mod shape;

pub use config::{Config, Protocol, Spec};
pub use request::Credential;
