//! The SiemExport controller, in five steps: dereference, validate, build, apply, status.
//!
//! A SiemExport owns no objects: its pools' controller renders it into the configuration of their exporters. What is applied
//! here are the test events that it asks for.

mod dereference;
mod destination;
mod destinations;
mod exporter;
mod sharing;
pub mod status;
pub mod test;
mod validate;
mod words;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crds::SiemExport;
use crds::siem_export::{LastTest, SiemExportStatus};
use events::ResourceKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::audit::{self, PoolId, Round, Subject, with_outcome};
use crate::conditions::Problem;
use crate::notices::Notices;
use crate::pool::Error;
use crate::retry;
use crate::status::StatusError;
use crate::world::Scope;

pub use dereference::{Read, Served, exports as read_exports, malformed as read_malformed};
pub use exporter::Tester;
pub use sharing::{HOSTS_ANNOTATION, SHARED_LABEL};
pub use validate::{Outcome, Programmed, References, id, roster, selects, validate};

/// Brings the status of one SiemExport up to date, and runs the tests that it asks for.
///
/// # Errors
/// See `Error`.
pub async fn reconcile(
    guard: &DeserializeGuard<SiemExport>,
    scope: &Scope,
    notices: &Notices,
) -> Result<Action, Error> {
    let now = || Time(jiff::Timestamp::now());
    let started = Instant::now();
    let export = match &guard.0 {
        Ok(export) => export,
        Err(invalid) => return malformed(guard, &invalid.error, scope, now()).await,
    };
    if export.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let previous: SiemExportStatus = scope.status.newest(export, export.status.as_ref());

    // 1. dereference: its pools, their other SiemExports, Secrets and certificates
    let served = dereference::dereference(export, scope).await?;
    // 2. validate: what keeps a destination out of a pool's exporter
    let (well_formed, broken): (Vec<_>, Vec<_>) = served.iter().partition(|served| served.pool.0.is_ok());
    let broken_pool = broken.first().map(|served| broken_pool(&served.pool.name_any()));
    let no_pool = well_formed.is_empty().then(|| broken_pool.clone().unwrap_or_else(|| no_pool(export)));
    let judged: Vec<(String, String, Outcome)> =
        well_formed.into_iter().filter_map(|served| judge(export, served)).collect();
    // 3. build: nothing, because the Pool's controller builds the configuration of the exporter
    // 4. apply: the test events, where the exporter knows the destination
    let pools =
        || judged.iter().map(|(name, uid, outcome)| pool_facts(export, name, uid, outcome, scope)).collect::<Vec<_>>();
    let (tests, failed) = tests(export, &previous, &judged, &pools(), scope, now).await;
    // 5. status: what the exporters say, not what they were told
    let facts = status::Facts { export, previous: &previous, now: now(), pools: pools(), no_pool, broken_pool, tests };
    let (status, timer) = status::status(&facts);
    notices.export(export, &previous.conditions, &status.conditions).await;
    let is_known_cause = facts.no_pool.is_some() || failed;
    conclude(scope, export, &previous, status, started.elapsed()).await?;
    if is_known_cause {
        return Ok(retry::known_cause());
    }
    // Numbers move without anybody saying so.
    retry::after(Vec::new(), timer.or_else(|| (!judged.is_empty()).then_some(status::NUMBERS))).map_err(Error::from)
}

/// Writes the status, and tells the trails of its pools what changed with it.
async fn conclude(
    scope: &Scope,
    export: &SiemExport,
    previous: &SiemExportStatus,
    status: SiemExportStatus,
    took: Duration,
) -> Result<(), StatusError> {
    let (uid, name, now) = (export.uid().unwrap_or_default(), export.name_any(), Time(jiff::Timestamp::now()));
    let changes = |pool: &PoolId| {
        let subject = Subject { pool: &pool.uid, uid: &uid, generation: export.metadata.generation.unwrap_or(0) };
        let untold = scope.trail.is_untold(&uid);
        let round = Round { subject, name: &name, untold, ..Round::of_nothing(&now, took) };
        let before = audit::Outcome { generation: previous.observed_generation, conditions: &previous.conditions };
        let after = audit::Outcome { generation: status.observed_generation, conditions: &status.conditions };
        with_outcome(&round, ResourceKind::SiemExport, before, after, Vec::new())
    };
    let told = scope.pools_of(export).into_iter().map(|pool| {
        let changes = changes(&pool);
        (pool, changes)
    });
    let told = told.collect();
    scope.trail.conclude(&scope.status, export, "SiemExport", previous, status, told).await
}

/// The verdict on the SiemExport in one of its pools, with the pool's name and uid.
fn judge(export: &SiemExport, served: &Served) -> Option<(String, String, Outcome)> {
    let exports = served.exports.iter().filter_map(|(guard, references)| Some((guard.0.as_ref().ok()?, references)));
    let (name, uid) = (served.pool.name_any(), served.pool.uid().unwrap_or_default());
    let outcome = roster(&name, exports).remove(&export.name_any())?;
    Some((name, uid, outcome))
}

fn pool_facts<'a>(
    export: &SiemExport,
    name: &'a str,
    uid: &str,
    outcome: &'a Outcome,
    scope: &Scope,
) -> status::PoolFacts<'a> {
    let generation = export.metadata.generation.unwrap_or_default();
    status::PoolFacts {
        name,
        outcome,
        without_exporter: scope.exporter.is_without(uid),
        answer: scope.exporter.observe(uid),
        programmed: scope.exporter.is_programmed(
            uid,
            &export.name_any(),
            &export.uid().unwrap_or_default(),
            generation,
        ),
    }
}

/// Runs the tests that are due and can be run, in every pool that has an exporter; true where one did not answer.
async fn tests(
    export: &SiemExport,
    previous: &SiemExportStatus,
    judged: &[(String, String, Outcome)],
    pools: &[status::PoolFacts<'_>],
    scope: &Scope,
    now: impl Fn() -> Time,
) -> (BTreeMap<String, LastTest>, bool) {
    let (without, pools): (Vec<_>, Vec<_>) = pools.iter().partition(|pool| pool.without_exporter);
    let is_programmed = |name: &&str| {
        let told = |outcome: &Outcome| outcome.programmed.export.destinations.iter().any(|one| one.name == **name);
        !pools.is_empty() && pools.iter().all(|pool| pool.programmed == Some(true) && told(pool.outcome))
    };
    let due: Vec<&str> = test::due(export, previous).into_iter().filter(is_programmed).collect();
    if due.is_empty() {
        return Default::default();
    }
    let asked = judged.iter().filter(|(name, ..)| pools.iter().any(|pool| pool.name == name));
    let asked: Vec<_> = asked.map(|(name, uid, _)| (name.as_str(), uid.as_str())).collect();
    let (mut done, failed) = test::run(export, &due, &asked, scope.exporter.as_ref(), now).await;
    if !without.is_empty() {
        let names = without.iter().map(|pool| pool.name).collect::<Vec<_>>().join(", ");
        done.values_mut().for_each(|last| last.message += &format!(" Not tested, for want of an exporter: {names}."));
    }
    if let Some(error) = &failed {
        tracing::warn!(%error, "a test event could not be asked for; it is tried again");
    }
    (done, failed.is_some())
}

fn broken_pool(name: &str) -> Problem {
    let message = format!("Pool {name} does not fit its schema: correct it with `kubectl edit pool {name}`");
    Problem::new("PoolMalformed", message)
}

fn no_pool(export: &SiemExport) -> Problem {
    let message = match &export.spec.pool_ref {
        Some(reference) => format!(
            "spec.poolRef.name: there is no Pool {} in this namespace: create it, or correct the name",
            reference.name
        ),
        None => {
            "spec.poolSelector: no Pool of this namespace has these labels: label one, or correct the selector".into()
        }
    };
    Problem::new("PoolNotFound", message)
}

async fn malformed(
    guard: &DeserializeGuard<SiemExport>,
    error: &str,
    scope: &Scope,
    now: Time,
) -> Result<Action, Error> {
    let meta = guard.meta();
    tracing::warn!(namespace = meta.namespace, name = meta.name, error, "the SiemExport does not fit its schema");
    let stand_in = SiemExport { metadata: meta.clone(), spec: crds::SiemExportSpec::default(), status: None };
    let previous: SiemExportStatus = scope.status_of_unreadable("SiemExport", &stand_in).await?;
    let status = status::malformed(meta.generation, &previous, error, now);
    scope.status.write(&stand_in, "SiemExport", &previous, status).await?;
    Ok(retry::known_cause())
}
