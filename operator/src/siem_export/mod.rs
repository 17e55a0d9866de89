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
use crds::siem_export::SiemExportStatus;
use events::ResourceKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::audit::{self, PoolId, Round, Subject, with_outcome};
use crate::conditions::{Conditions, Problem};
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
    let no_pool = no_pool(export, &served);
    let well_formed = served.iter().filter(|served| served.pool.0.is_ok());
    let judged: Vec<(String, String, Outcome)> = well_formed.filter_map(|served| judge(export, served)).collect();
    // 3. build: nothing, because the Pool's controller builds the configuration of the exporter
    // 4. apply: the test events, where the exporter knows the destination
    let pools =
        || judged.iter().map(|(name, uid, outcome)| pool_facts(export, name, uid, outcome, scope)).collect::<Vec<_>>();
    let (tests, failed) = tests(export, &previous, &judged, &pools(), scope, now).await;
    // 5. status: what the exporters say, not what they were told
    let facts = status::Facts { export, previous: &previous, now: now(), pools: pools(), no_pool, tests };
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
    let pools = scope.pools_of(export);
    let changes = |pool: &PoolId| {
        let subject = Subject { pool: &pool.uid, uid: &uid, generation: export.metadata.generation.unwrap_or(0) };
        let untold = scope.trail.is_untold(&uid);
        let round = Round { subject, name: &name, untold, ..Round::of_nothing(&now, took) };
        let before = audit::Outcome { generation: previous.observed_generation, conditions: &previous.conditions };
        let after = audit::Outcome { generation: status.observed_generation, conditions: &status.conditions };
        with_outcome(&round, ResourceKind::SiemExport, before, after, Vec::new())
    };
    let mut told = pools.iter().map(|pool| (pool, changes(pool)));
    let first = told.next();
    let others: Vec<_> = told.collect();
    scope.trail.conclude(&scope.status, export, "SiemExport", previous, status, first).await?;
    for (pool, changes) in others {
        scope.trail.tell(pool, changes.drafts);
    }
    Ok(())
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
        answer: scope.exporter.observe(uid),
        programmed: scope.exporter.is_programmed(
            uid,
            &export.name_any(),
            &export.uid().unwrap_or_default(),
            generation,
        ),
    }
}

/// Runs the tests that are due and can be run; true where an exporter did not answer.
async fn tests(
    export: &SiemExport,
    previous: &SiemExportStatus,
    judged: &[(String, String, Outcome)],
    pools: &[status::PoolFacts<'_>],
    scope: &Scope,
    now: impl Fn() -> Time,
) -> (BTreeMap<String, crds::siem_export::LastTest>, bool) {
    let is_programmed = |name: &&str| {
        let told = |outcome: &Outcome| outcome.programmed.export.destinations.iter().any(|one| one.name == **name);
        !pools.is_empty() && pools.iter().all(|pool| pool.programmed == Some(true) && told(pool.outcome))
    };
    let due: Vec<&str> = test::due(export, previous).into_iter().filter(is_programmed).collect();
    if due.is_empty() {
        return Default::default();
    }
    let pools: Vec<_> = judged.iter().map(|(name, uid, _)| (name.as_str(), uid.as_str())).collect();
    let (done, failed) = test::run(export, &due, &pools, scope.exporter.as_ref(), now).await;
    if let Some(error) = &failed {
        tracing::warn!(%error, "a test event could not be asked for; it is tried again");
    }
    (done, failed.is_some())
}

fn no_pool(export: &SiemExport, served: &[Served]) -> Option<Problem> {
    if let Some(broken) = served.iter().find(|served| served.pool.0.is_err()) {
        let name = broken.pool.name_any();
        let message = format!("Pool {name} does not fit its schema: correct it with `kubectl edit pool {name}`");
        return Some(Problem::new("PoolMalformed", message));
    }
    if !served.is_empty() {
        return None;
    }
    let message = match &export.spec.pool_ref {
        Some(reference) => format!(
            "spec.poolRef.name: there is no Pool {} in this namespace: create it, or correct the name",
            reference.name
        ),
        None => {
            "spec.poolSelector: no Pool of this namespace has these labels: label one, or correct the selector".into()
        }
    };
    Some(Problem::new("PoolNotFound", message))
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
    let previous: SiemExportStatus = scope.status.newest(&stand_in, None);
    let mut conditions = Conditions::new(&previous.conditions, meta.generation, now);
    let message = format!("the object does not fit its schema: {error}: correct it with `kubectl edit`");
    let problem = Problem::new("Malformed", message);
    conditions.set_outcome("Accepted", Some(&problem), "", "");
    conditions.set_outcome("Delivering", Some(&problem), "", "");
    let status =
        SiemExportStatus { observed_generation: meta.generation, conditions: conditions.finish(), ..previous.clone() };
    scope.status.write(&stand_in, "SiemExport", &previous, status).await?;
    Ok(retry::known_cause())
}
