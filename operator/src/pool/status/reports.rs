//! Conditions that come from what the Pods say, and from what the cluster has.

use super::Built;
use crate::child::ApplyError;
use crate::conditions::Conditions;
use crate::exporter;

/// An existing Redis is judged by the gateways, which use it.
pub(super) fn external_redis(conditions: &mut Conditions<'_>, built: &Built<'_>, desired_replicas: i32) {
    let type_ = "RedisReady";
    let Some(replicas) = built.replicas.filter(|_| desired_replicas > 0) else {
        return match conditions.previous(type_) {
            Some(_) if desired_replicas > 0 => conditions.keep(type_),
            _ => conditions.set(
                type_,
                Some(true),
                "External",
                "The pool uses an existing Redis, and no gateway asks for it.",
            ),
        };
    };
    let mut answering = replicas.values().filter(|replica| replica.unreachable.is_none()).peekable();
    if answering.peek().is_none() {
        return conditions.set(type_, None, "NotYetKnown", "No gateway has said yet whether the Redis answers.");
    }
    if answering.any(|replica| replica.redis) {
        return conditions.set(type_, Some(true), "External", "The existing Redis takes the gateways' events.");
    }
    let message = "the Redis of spec.redis.external takes no events from any gateway: check that it runs, and the URL, \
                   password and certificates that urlSecretRef and caRef name; events wait in memory meanwhile";
    conditions.set(type_, Some(false), "RedisUnreachable", message);
}

/// Whether gateways and exporters run the newest configuration.
pub(super) fn config_in_sync(conditions: &mut Conditions<'_>, built: &Built<'_>, desired_replicas: i32) {
    let type_ = "ConfigInSync";
    if desired_replicas == 0 {
        return conditions.set(type_, None, "NoReplicas", "No replica runs.");
    }
    let Some(replicas) = built.replicas else { return conditions.keep(type_) };
    let (Some(desired), false) = (built.desired, replicas.is_empty()) else {
        return conditions.set(type_, None, "NoReplicas", "No replica has answered yet.");
    };
    if let Some((_, replica)) =
        replicas.iter().find(|(_, replica)| replica.error.is_some() && !replica.in_sync(desired))
    {
        let cause = replica.error.as_deref().unwrap_or_default();
        let message = format!("Armor refuses the configuration and goes on with its last good one: {cause}");
        return conditions.set(type_, Some(false), "Rejected", message);
    }
    if let Some(cause) = exporter_refuses(built) {
        let message = format!("The exporter refuses the configuration and goes on with its last good one: {cause}");
        return conditions.set(type_, Some(false), "Rejected", message);
    }
    let (mut behind, mut unreachable) = (0, 0);
    let exporters = built.exporters.iter().flat_map(|(desired, replicas)| {
        replicas.values().map(|replica| (replica.in_sync(desired), replica.0.is_err()))
    });
    let gateways = replicas.values().map(|replica| (replica.in_sync(desired), replica.unreachable.is_some()));
    for (in_sync, silent) in gateways.chain(exporters) {
        behind += u32::from(!in_sync);
        unreachable += u32::from(silent);
    }
    match (behind, unreachable) {
        (0, _) => conditions.set(type_, Some(true), "InSync", "Every replica runs the newest configuration."),
        (behind, unreachable) if behind == unreachable => {
            conditions.set(
                type_,
                None,
                "Unreachable",
                format!("{unreachable} replicas do not answer on their admin port."),
            );
        }
        (behind, _) => {
            conditions.set(
                type_,
                Some(false),
                "Reloading",
                format!("{behind} replicas do not run the newest configuration yet."),
            );
        }
    }
}

/// Why an exporter does not run the newest configuration, where it says so.
fn exporter_refuses<'a>(built: &Built<'a>) -> Option<&'a str> {
    let (desired, replicas) = built.exporters?;
    replicas.values().filter(|replica| !replica.in_sync(desired)).find_map(exporter::Replica::error)
}

/// Whether there are PodMonitors, for a pool that asks for them. The pool works without.
pub(super) fn monitored(conditions: &mut Conditions<'_>, served: bool, failed: Option<&ApplyError>) {
    let type_ = "Monitored";
    if !served {
        let message = "the cluster has no kind PodMonitor of monitoring.coreos.com, or the operator has no rights on it: install the \
                       Prometheus operator and set rbac.podMonitors in the chart, or set spec.metrics.podMonitor: false; the pool \
                       works without";
        return conditions.set(type_, Some(false), "PodMonitorUnavailable", message);
    }
    match failed {
        Some(error) => conditions.set(type_, Some(false), error.reason(), error.to_string()),
        None => conditions.set(type_, Some(true), "Monitored", "The PodMonitors are there."),
    }
}
