//! Runs the test events that a SiemExport asks for.
//!
//! Promises: a destination's test for an id is run until there is a result, and never again once the result is in the status.
//! Between the result and the status a crash may come: the test event is then sent once more.

use std::collections::BTreeMap;

use crds::SiemExport;
use crds::siem_export::{LastTest, SiemExportStatus, TestOutcome};
use exporter::api::wire;
use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::exporter::Tester;
use super::words;
use crate::exporter::Unavailable;

/// Names of the destinations whose test has no result yet.
pub fn due<'a>(export: &'a SiemExport, previous: &SiemExportStatus) -> Vec<&'a str> {
    let Some(test) = &export.spec.test else { return Vec::new() };
    let is_done = |name: &str| {
        let known = previous.destinations.iter().find(|one| one.name == name).and_then(|one| one.last_test.as_ref());
        known.is_some_and(|last| last.id == test.id)
    };
    let mut due: Vec<&str> = test.destinations.iter().map(String::as_str).filter(|name| !is_done(name)).collect();
    due.sort_unstable();
    due.dedup();
    due
}

/// A pool whose exporter is asked: its name and uid.
pub type Pool<'a> = (&'a str, &'a str);

/// Runs the tests of these destinations in every pool, all at the same time. Those that could not be asked of every pool have no
/// result, and are due again.
pub async fn run(
    export: &SiemExport,
    due: &[&str],
    pools: &[Pool<'_>],
    tester: &dyn Tester,
    now: impl Fn() -> Time,
) -> (BTreeMap<String, LastTest>, Option<Unavailable>) {
    let Some(test) = &export.spec.test else { return Default::default() };
    let name = export.name_any();
    let one = |destination: &str| {
        let (name, destination, id) = (name.clone(), destination.to_owned(), test.id.clone());
        async move {
            let asked = join_all(pools.iter().map(|(_, uid)| tester.test(uid, &name, &destination, &id))).await;
            let results: Result<Vec<wire::TestResult>, Unavailable> = asked.into_iter().collect();
            (destination, results)
        }
    };
    let names: Vec<&str> = pools.iter().map(|(pool, _)| *pool).collect();
    let (mut done, mut failed) = (BTreeMap::new(), None);
    for (destination, results) in join_all(due.iter().map(|destination| one(destination))).await {
        match results {
            Ok(results) => done.extend(worst(&test.id, &names, &results, now()).map(|last| (destination, last))),
            Err(error) => failed = Some(error),
        }
    }
    (done, failed)
}

/// One result for all pools: the worst.
pub fn worst(id: &str, pools: &[&str], results: &[wire::TestResult], time: Time) -> Option<LastTest> {
    let rank = |result: &wire::TestResult| match result.result {
        wire::TestOutcome::Delivered => 0,
        wire::TestOutcome::Rejected => 1,
        wire::TestOutcome::Unreachable => 2,
    };
    let (pool, result) = pools.iter().zip(results).max_by_key(|(_, result)| rank(result))?;
    let message = words::of_test(result);
    let longest = results.iter().map(|result| result.milliseconds).max().unwrap_or_default();
    Some(LastTest {
        id: id.to_owned(),
        result: match result.result {
            wire::TestOutcome::Delivered => TestOutcome::Delivered,
            wire::TestOutcome::Rejected => TestOutcome::Rejected,
            wire::TestOutcome::Unreachable => TestOutcome::Unreachable,
        },
        message: if pools.len() > 1 { format!("Pool {pool}: {message}") } else { message },
        time,
        milliseconds: i64::try_from(longest).unwrap_or(i64::MAX),
    })
}
