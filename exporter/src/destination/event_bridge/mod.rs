//! `eventBridge`: PutEvents (Amazon EventBridge API 2015-10-07, JSON 1.1), signed with Signature Version 4.
//!
//! Promises: each entry has its own verdict, because EventBridge hides failures in a 200. Assurance: Accepted.

pub mod answer;
pub mod config;
pub mod request;
pub mod shape;
pub mod sigv4;
pub mod sts;

pub use config::{Config, Spec};
pub use sigv4::Credentials;

/// The host of a service in a region. Regions of AWS's secret partitions need the `endpoint` field.
fn service_host(service: &str, region: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("{service}.{region}.{suffix}")
}
