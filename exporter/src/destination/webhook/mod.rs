//! `webhook`: HTTPS POST of a batch, signed by Standard Webhooks 1.0.0
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! Promises: `webhook-id` is the same for every attempt of a batch, so a receiver can drop repetitions; each attempt is
//! signed anew, because receivers refuse a timestamp older than five minutes. Assurance: Accepted.

pub mod answer;
pub mod config;
pub mod request;
pub mod shape;

pub use config::{Config, Spec};
pub use request::Credential;
