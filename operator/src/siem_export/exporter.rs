//! What is asked of the pools' exporters here.

use exporter::api::wire::TestResult;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::exporter::{PoolExporters, Unavailable};

/// Sends test events.
pub trait Tester: Send + Sync {
    /// Has the exporter of a pool send a test event to a destination.
    fn test<'a>(
        &'a self,
        pool_uid: &'a str,
        export: &'a str,
        destination: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<TestResult, Unavailable>>;
}

impl Tester for PoolExporters {
    fn test<'a>(
        &'a self,
        pool_uid: &'a str,
        export: &'a str,
        destination: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<TestResult, Unavailable>> {
        PoolExporters::test(self, pool_uid, export, destination, id).boxed()
    }
}
