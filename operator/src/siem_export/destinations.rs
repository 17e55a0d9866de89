//! What all pools together say of each destination. Pure.

use std::collections::BTreeMap;

use crds::siem_export::{Destination, DestinationState, DestinationStatus, LastTest, SiemExportStatus};
use exporter::api::wire;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::status::Facts;
use super::validate::id;
use super::words;

/// The status of every destination of the spec.
pub(super) fn destinations(facts: &Facts<'_>) -> Vec<DestinationStatus> {
    facts.export.spec.destinations.iter().map(|one| destination(facts, one)).collect()
}

fn destination(facts: &Facts<'_>, one: &Destination) -> DestinationStatus {
    let before = facts.previous.destinations.iter().find(|before| before.name == one.name);
    let mut status = DestinationStatus { name: one.name.clone(), ..before.cloned().unwrap_or_default() };
    status.last_test = last_test(facts.previous, &facts.tests, &one.name);
    let reports: Vec<Option<&wire::Destination>> =
        facts.with_exporter().map(|pool| reported(facts, pool, one)).collect();
    // A sum without the part of one pool would go back and forth.
    if !reports.is_empty() && reports.iter().all(Option::is_some) {
        count(&mut status, &reports.into_iter().flatten().collect::<Vec<_>>());
    }
    let verdicts = facts.pools.iter().map(|pool| (pool.name, state(facts, pool, one, before)));
    let worst = verdicts.max_by_key(|(_, (state, _))| rank(*state));
    let Some((pool, (state, message))) = worst else {
        (status.state, status.message) = (DestinationState::Pending, None);
        return status;
    };
    let prefix = if facts.pools.len() > 1 { format!("Pool {pool}: ") } else { String::new() };
    status.state = state;
    status.message = message.map(|message| format!("{prefix}{message}"));
    status
}

fn reported<'a>(
    facts: &Facts<'_>,
    pool: &'a super::status::PoolFacts<'_>,
    one: &Destination,
) -> Option<&'a wire::Destination> {
    let id = id(&facts.name(), &one.name);
    pool.answer.as_ref()?.destinations.iter().find(|reported| reported.id == id)
}

/// How it stands with a destination in one pool, and what is wrong.
fn state(
    facts: &Facts<'_>,
    pool: &super::status::PoolFacts<'_>,
    one: &Destination,
    before: Option<&DestinationStatus>,
) -> (DestinationState, Option<String>) {
    let fault = pool.outcome.fault.as_ref().or_else(|| pool.outcome.left_out.get(&one.name));
    if let Some(fault) = fault {
        return (DestinationState::Invalid, Some(fault.problem().message.clone()));
    }
    if one.enabled == Some(false) {
        return (DestinationState::Disabled, None);
    }
    if pool.without_exporter {
        return (DestinationState::Pending, Some("the pool has no exporter yet".into()));
    }
    match (reported(facts, pool, one), before) {
        (Some(reported), _) => {
            let state = match reported.state {
                wire::State::Idle => DestinationState::Idle,
                wire::State::Delivering => DestinationState::Delivering,
                wire::State::Disabled => DestinationState::Disabled,
                wire::State::Retrying => DestinationState::Retrying,
                wire::State::Rejected => DestinationState::Rejected,
                wire::State::AuthRejected => DestinationState::AuthRejected,
                wire::State::Invalid => DestinationState::Invalid,
            };
            let said = words::of_state(reported);
            (state, said.map(|said| format!("spec.destinations[{}]: {said}", one.name)))
        }
        // A restarted operator must not unsay what it knew.
        (None, Some(before)) if pool.programmed.is_none() => {
            let kept = match before.state {
                DestinationState::Invalid | DestinationState::Disabled => DestinationState::Pending,
                state => state,
            };
            (kept, before.message.clone().filter(|_| kept == before.state))
        }
        (None, _) => (DestinationState::Pending, None),
    }
}

/// The worst last.
pub(super) fn rank(state: DestinationState) -> u8 {
    match state {
        DestinationState::Idle => 0,
        DestinationState::Delivering => 1,
        DestinationState::Disabled => 2,
        DestinationState::Pending => 3,
        DestinationState::Retrying => 4,
        DestinationState::Rejected => 5,
        DestinationState::AuthRejected => 6,
        DestinationState::Invalid => 7,
    }
}

fn count(status: &mut DestinationStatus, reports: &[&wire::Destination]) {
    let sum = |number: fn(&wire::Destination) -> u64| {
        let sum = reports.iter().fold(0u64, |sum, report| sum.saturating_add(number(report)));
        i64::try_from(sum).unwrap_or(i64::MAX)
    };
    status.delivered = sum(|report| report.delivered);
    status.dropped = sum(|report| report.dropped.saturating_add(report.lost));
    status.possibly_lost = sum(|report| report.possibly_lost);
    let waiting: Option<Vec<u64>> = reports.iter().map(|report| report.backlog).collect();
    status.backlog = waiting.map(|all| all.into_iter().fold(0i64, |sum, one| sum.saturating_add_unsigned(one)));
    // What is promised is what the least of them is worth.
    const WORTH: [&str; 3] = ["Sent", "Accepted", "Stored"];
    let worth = reports.iter().map(|report| WORTH.iter().position(|word| report.assurance.as_deref() == Some(*word)));
    status.assurance = worth.collect::<Option<Vec<_>>>().and_then(|all| Some(WORTH[*all.iter().min()?].to_owned()));
    status.last_delivered_time = reports.iter().filter_map(|report| report.last_delivered_time).max().map(Time);
    let codes = reports.iter().filter_map(|report| report.last_error_code.as_deref().and_then(words::word));
    status.last_error_code = codes.max().map(str::to_owned);
}

fn last_test(previous: &SiemExportStatus, tests: &BTreeMap<String, LastTest>, name: &str) -> Option<LastTest> {
    let before = previous.destinations.iter().find(|one| one.name == name).and_then(|one| one.last_test.clone());
    tests.get(name).cloned().or(before)
}
