//! Content for the platforms: what a security team would otherwise write by hand.
//!
//! Promises: alerts and panels are listed once, in [`source`]; each platform's module writes them in its language, with
//! the names that the events have there by the exporter's mapping. Must never spell a renamed key by hand: a query on a
//! field that no event has finds nothing, and nobody notices.

pub mod datadog;
pub mod elastic;
pub mod names;
pub mod sentinel;
pub mod source;
pub mod splunk;
pub mod text;

/// Every file below `content/`, with what it holds.
pub fn files() -> Vec<(String, String)> {
    [
        ("splunk", splunk::files()),
        ("elastic", elastic::files()),
        ("datadog", datadog::files()),
        ("sentinel", sentinel::files()),
    ]
    .into_iter()
    .flat_map(|(folder, files)| files.into_iter().map(move |(path, text)| (format!("{folder}/{path}"), text)))
    .collect()
}
