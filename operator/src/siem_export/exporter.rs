//! What a SiemExport's status is computed from: the answers of the pools' exporters.

use std::sync::Arc;

use exporter::api::wire::{Destinations, TestResult};
use futures::future::BoxFuture;
use thiserror::Error;

/// A test that nobody made.
#[derive(Debug, Error)]
#[error("the exporter of the pool does not answer: {0}")]
pub struct NoTest(pub String);

/// Where no pool has an exporter.
pub struct NoExporters;

impl Exporters for NoExporters {
    fn observe(&self, _: &str) -> Option<Arc<Destinations>> {
        None
    }

    fn is_programmed(&self, _: &str, _: &str, _: &str, _: i64) -> Option<bool> {
        Some(false)
    }

    fn test<'a>(&'a self, _: &'a str, _: &'a str, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<TestResult, NoTest>> {
        Box::pin(std::future::ready(Err(NoTest("there is none".into()))))
    }
}

/// The exporters of all pools of a scope.
pub trait Exporters: Send + Sync {
    /// The newest answer of a pool's exporter; `None` where there is none, or nobody has asked yet.
    fn observe(&self, pool_uid: &str) -> Option<Arc<Destinations>>;

    /// Whether that answer is of a configuration with this generation of a SiemExport; `None` while nobody has asked.
    fn is_programmed(&self, pool_uid: &str, export: &str, uid: &str, generation: i64) -> Option<bool>;

    /// Has the exporter send a test event, which takes up to 15 seconds.
    fn test<'a>(
        &'a self,
        pool_uid: &'a str,
        export: &'a str,
        destination: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<TestResult, NoTest>>;
}
