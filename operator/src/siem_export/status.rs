//! What a SiemExport says of itself. Pure: the clock comes in as an argument.
//!
//! Promises: a state that changed is written at once; numbers alone at most once a minute, so that a busy pool does not write to
//! the API server with every batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::SiemExport;
use crds::siem_export::{DestinationState, DestinationStatus, ExportDisplay, LastTest, SiemExportStatus};
use exporter::api::wire;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::destinations::{destinations, rank};
use super::validate::{Outcome, id};
use crate::conditions::{Conditions, Problem};
use crate::mcp_server::Fault;
use crate::pool::status::GRACE;

/// Numbers alone are written at most this often.
pub(super) const NUMBERS: Duration = Duration::from_secs(60);

/// Everything that a status is computed from.
pub struct Facts<'a> {
    /// The SiemExport.
    pub export: &'a SiemExport,
    /// The newest status that is known.
    pub previous: &'a SiemExportStatus,
    /// The time of this reconcile.
    pub now: Time,
    /// The pools that it is for.
    pub pools: Vec<PoolFacts<'a>>,
    /// Why there is none.
    pub no_pool: Option<Problem>,
    /// One of its pools that can not be read; it serves the others.
    pub broken_pool: Option<Problem>,
    /// Results of tests that were just made.
    pub tests: BTreeMap<String, LastTest>,
}

/// One pool that a SiemExport is for.
pub struct PoolFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// What its exporter is told.
    pub outcome: &'a Outcome,
    /// Whether it is known to have no exporter, as one that was paused before it got one.
    pub without_exporter: bool,
    /// What its exporter said last.
    pub answer: Option<Arc<wire::Destinations>>,
    /// Whether that is of a configuration with this generation of the SiemExport; `None` while nobody has asked.
    pub programmed: Option<bool>,
}

impl Facts<'_> {
    pub(super) fn name(&self) -> String {
        self.export.name_any()
    }

    /// Whether the exporter of a pool has yet to be asked, as after a restart of the operator.
    fn is_unasked(&self) -> bool {
        self.pools.iter().any(|pool| pool.programmed.is_none() && !pool.without_exporter)
    }

    /// The pools whose exporters count something.
    pub(super) fn with_exporter(&self) -> impl Iterator<Item = &PoolFacts<'_>> {
        self.pools.iter().filter(|pool| !pool.without_exporter)
    }
}

/// The status, and when a timer may change it.
pub fn status(facts: &Facts<'_>) -> (SiemExportStatus, Option<Duration>) {
    let previous = facts.previous;
    let generation = facts.export.metadata.generation;
    let mut conditions = Conditions::new(&previous.conditions, generation, facts.now.clone());
    let destinations = destinations(facts);
    references(facts, &mut conditions);
    programmed(facts, &mut conditions);
    let (failing_since, timer) = delivering(facts, &mut conditions, &destinations);
    let status = SiemExportStatus {
        observed_generation: generation,
        unrouted: unrouted(facts),
        display: display(facts, &destinations),
        destinations,
        updated_time: previous.updated_time.clone(),
        failing_since,
        conditions: conditions.finish(),
    };
    let (status, later) = settle(previous, status, &facts.now);
    (status, [timer, later].into_iter().flatten().min())
}

/// The status of a SiemExport that the operator can not read: its destinations keep their places in the stream, and what was
/// said of them and of their tests stays, but for that they are served.
pub fn malformed(generation: Option<i64>, previous: &SiemExportStatus, error: &str, now: Time) -> SiemExportStatus {
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    let message = format!("the object does not fit its schema: {error}: correct it with `kubectl edit`");
    let problem = Problem::new("Malformed", message);
    conditions.set_outcome("Accepted", Some(&problem), "", "");
    let held = "Its destinations keep their backlog, and nothing is delivered.";
    conditions.set("Programmed", Some(false), "NotProgrammed", held);
    conditions.set_outcome("Delivering", Some(&problem), "", "");
    conditions.keep_rest();
    let mut status = SiemExportStatus {
        observed_generation: generation,
        failing_since: None,
        conditions: conditions.finish(),
        ..previous.clone()
    };
    for one in &mut status.destinations {
        (one.state, one.message) = (DestinationState::Invalid, Some("the SiemExport does not fit its schema".into()));
    }
    status.display.delivering = format!("0/{}", status.destinations.len());
    status
}

/// Accepted and ResolvedRefs. A destination that is left out makes them false, and the others go on.
fn references(facts: &Facts<'_>, conditions: &mut Conditions<'_>) {
    if let Some(problem) = &facts.no_pool {
        conditions.set_outcome("Accepted", Some(problem), "", "");
        conditions.keep("ResolvedRefs");
        return;
    }
    let all = || {
        let faults =
            facts.pools.iter().flat_map(|pool| pool.outcome.fault.iter().chain(pool.outcome.left_out.values()));
        faults.collect::<Vec<_>>()
    };
    let refused = all().into_iter().find_map(|fault| match fault {
        Fault::NotAccepted(problem) => Some(problem),
        Fault::Unresolved(_) => None,
    });
    let unresolved = all().into_iter().find_map(|fault| match fault {
        Fault::Unresolved(problem) => Some(problem),
        Fault::NotAccepted(_) => None,
    });
    let unresolved = unresolved.or(facts.broken_pool.as_ref());
    conditions.set_outcome("Accepted", refused, "Accepted", "The spec is valid and its pool exists.");
    conditions.set_outcome("ResolvedRefs", unresolved, "Resolved", "Every reference was found and may be used.");
}

fn programmed(facts: &Facts<'_>, conditions: &mut Conditions<'_>) {
    if facts.no_pool.is_some() {
        let message = "There is no pool whose exporter could have it.";
        return conditions.set("Programmed", Some(false), "NotProgrammed", message);
    }
    if facts.is_unasked() {
        return conditions.keep("Programmed");
    }
    for pool in &facts.pools {
        if let Some(problem) = not_programmed(facts, pool) {
            return conditions.set("Programmed", Some(false), problem.reason, problem.message);
        }
    }
    let message = "The exporter has it in its configuration; destinations that are invalid are left out.";
    conditions.set("Programmed", Some(true), "Programmed", message);
}

fn not_programmed(facts: &Facts<'_>, pool: &PoolFacts<'_>) -> Option<Problem> {
    if pool.without_exporter {
        let message = format!("Pool {} has no exporter yet: `kubectl describe pool {0}` says why.", pool.name);
        return Some(Problem::new("ExporterNotReady", message));
    }
    let Some(answer) = &pool.answer else {
        let message = format!("The exporter of Pool {} does not answer: look at its Pods.", pool.name);
        return Some(Problem::new("ExporterNotReady", message));
    };
    let has = |name: &str| answer.destinations.iter().any(|one| one.id == id(&facts.name(), name));
    let told = &pool.outcome.programmed.export.destinations;
    if pool.programmed != Some(true) || !told.iter().all(|destination| has(&destination.name)) {
        let message = format!("The exporter of Pool {} does not run a configuration with this version yet.", pool.name);
        return Some(Problem::new("NotProgrammed", message));
    }
    None
}

/// Sets `Delivering`. What was in order stays so through a failure shorter than the grace period. Gives since when it fails
/// meanwhile, and when that ends.
fn delivering(
    facts: &Facts<'_>,
    conditions: &mut Conditions<'_>,
    destinations: &[DestinationStatus],
) -> (Option<Time>, Option<Duration>) {
    // What the spec itself rules out is no blip.
    let at_once = facts.no_pool.clone().or_else(|| {
        let invalid =
            destinations.iter().find(|one| one.state == DestinationState::Invalid && is_left_out(facts, &one.name))?;
        Some(Problem::new("Invalid", invalid.message.clone().unwrap_or_default()))
    });
    if let Some(problem) = at_once {
        conditions.set("Delivering", Some(false), problem.reason, problem.message);
        return (None, None);
    }
    let wanted: Vec<_> = destinations.iter().filter(|one| one.state != DestinationState::Disabled).collect();
    if wanted.is_empty() {
        conditions.set("Delivering", Some(false), "Disabled", "Every destination is disabled.");
        return (None, None);
    }
    if facts.is_unasked() {
        conditions.keep("Delivering");
        return (facts.previous.failing_since.clone(), None);
    }
    let on_its_way = facts.pools.iter().find_map(|pool| not_programmed(facts, pool));
    let same_generation = conditions
        .previous("Delivering")
        .is_some_and(|before| before.observed_generation == facts.export.metadata.generation);
    let (failure, may_wait) = match on_its_way {
        Some(problem) => (problem, true),
        None => match failing(&wanted) {
            Some(problem) => (problem, same_generation),
            None => {
                in_order(conditions, &wanted);
                return (None, None);
            }
        },
    };
    let was_in_order = conditions.previous("Delivering").is_some_and(|before| before.status == "True");
    if was_in_order && may_wait {
        let since = facts.previous.failing_since.clone().unwrap_or_else(|| facts.now.clone());
        let elapsed = Duration::try_from(facts.now.0.duration_since(since.0)).unwrap_or_default();
        if elapsed < GRACE {
            let message =
                format!("All was in order and has not been for less than {} s: {}", GRACE.as_secs(), failure.message);
            conditions.set("Delivering", Some(true), "Failing", message);
            return (Some(since), Some(GRACE - elapsed));
        }
    }
    conditions.set("Delivering", Some(false), failure.reason, failure.message);
    (None, None)
}

fn is_left_out(facts: &Facts<'_>, name: &str) -> bool {
    facts.pools.iter().any(|pool| pool.outcome.fault.is_some() || pool.outcome.left_out.contains_key(name))
}

fn in_order(conditions: &mut Conditions<'_>, wanted: &[&DestinationStatus]) {
    if wanted.iter().any(|one| one.state == DestinationState::Delivering || one.last_delivered_time.is_some()) {
        let message = "Every destination takes what it is sent.";
        return conditions.set("Delivering", Some(true), "Delivering", message);
    }
    conditions.set(
        "Delivering",
        None,
        "Idle",
        "Nothing has been sent yet, so that nothing is known of the destinations.",
    );
}

/// The worst of the destinations, if one is not in order.
fn failing(wanted: &[&DestinationStatus]) -> Option<Problem> {
    let worst = wanted.iter().max_by_key(|one| rank(one.state))?;
    let reason = match worst.state {
        DestinationState::Idle | DestinationState::Delivering | DestinationState::Disabled => return None,
        DestinationState::Pending => "ExporterNotReady",
        DestinationState::Retrying => "Retrying",
        DestinationState::Rejected => "Rejected",
        DestinationState::AuthRejected => "AuthRejected",
        DestinationState::Invalid => "Invalid",
    };
    let untold = || format!("spec.destinations[{}]: the exporter has not told of it yet", worst.name);
    Some(Problem::new(reason, worst.message.clone().unwrap_or_else(untold)))
}

fn unrouted(facts: &Facts<'_>) -> i64 {
    let name = facts.name();
    let of = |pool: &PoolFacts<'_>| {
        let answer = pool.answer.as_ref()?;
        answer.exports.iter().find(|export| export.name == name).map(|export| export.unrouted)
    };
    let all: Option<Vec<u64>> = facts.with_exporter().map(of).collect();
    match all {
        Some(all) if !all.is_empty() => all.into_iter().fold(0i64, |sum, one| sum.saturating_add_unsigned(one)),
        _ => facts.previous.unrouted,
    }
}

fn display(facts: &Facts<'_>, destinations: &[DestinationStatus]) -> ExportDisplay {
    let enabled = destinations.iter().filter(|one| one.state != DestinationState::Disabled).count();
    let good = |one: &&DestinationStatus| matches!(one.state, DestinationState::Idle | DestinationState::Delivering);
    let pool = match (&facts.export.spec.pool_ref, facts.pools.as_slice()) {
        (Some(reference), _) => reference.name.clone(),
        (None, [one]) => one.name.to_owned(),
        (None, pools) => format!("{} pools", pools.len()),
    };
    let sum = |number: fn(&DestinationStatus) -> i64| {
        destinations.iter().fold(0i64, |sum, one| sum.saturating_add(number(one)))
    };
    ExportDisplay {
        pool,
        destinations: i32::try_from(destinations.len()).unwrap_or(i32::MAX),
        delivering: format!("{}/{enabled}", destinations.iter().filter(good).count()),
        backlog: sum(|one| one.backlog.unwrap_or_default()),
        dropped: sum(|one| one.dropped),
    }
}

/// What is written: `status` where a state changed or the numbers are due, else what there is.
fn settle(previous: &SiemExportStatus, status: SiemExportStatus, now: &Time) -> (SiemExportStatus, Option<Duration>) {
    if status == *previous {
        return (status, None);
    }
    let updated = SiemExportStatus { updated_time: Some(now.clone()), ..status };
    if without_numbers(&updated) != without_numbers(previous) {
        return (updated, None);
    }
    let age =
        previous.updated_time.as_ref().map(|time| Duration::try_from(now.0.duration_since(time.0)).unwrap_or_default());
    match age {
        Some(age) if age < NUMBERS => (previous.clone(), Some(NUMBERS - age)),
        _ => (updated, None),
    }
}

fn without_numbers(status: &SiemExportStatus) -> SiemExportStatus {
    let mut bare = status.clone();
    (bare.unrouted, bare.updated_time) = (0, None);
    (bare.display.backlog, bare.display.dropped) = (0, 0);
    for one in &mut bare.destinations {
        (one.delivered, one.dropped, one.possibly_lost) = (0, 0, 0);
        (one.backlog, one.last_delivered_time, one.last_error_code) = (None, None, None);
    }
    bare
}
