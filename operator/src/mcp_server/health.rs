//! What the gateways together say of one server. Pure.

use std::collections::BTreeMap;

use crate::armor::{Replica, ServerReport};

/// The verdict over all replicas.
#[derive(Debug, PartialEq)]
pub enum Health<'a> {
    /// Every replica that has looked did the handshake.
    Ready(&'a ServerReport),
    /// At least one replica tried and failed.
    Failed(&'a ServerReport),
    /// No replica has finished a handshake yet.
    Pending,
    /// No replica has the server in its configuration.
    NotProgrammed,
}

/// Judges a server by name. A replica that still connects says nothing against the others.
pub fn health<'a>(name: &str, replicas: &'a BTreeMap<String, Replica>) -> Health<'a> {
    let reports: Vec<&ServerReport> = replicas.values().filter_map(|replica| replica.servers.get(name)).collect();
    if let Some(failed) = reports.iter().find(|report| report.state == "Failed") {
        return Health::Failed(failed);
    }
    if let Some(ready) = reports.iter().find(|report| report.state == "Ready") {
        return Health::Ready(ready);
    }
    if reports.is_empty() { Health::NotProgrammed } else { Health::Pending }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(states: &[&str]) -> BTreeMap<String, Replica> {
        let report = |state: &str| ServerReport {
            name: "crm".into(),
            state: state.into(),
            reason: "r".into(),
            message: "m".into(),
            server: None,
            tools: None,
        };
        let replica = |state: &str| Replica {
            servers: BTreeMap::from([("crm".to_owned(), report(state))]),
            ..Replica::default()
        };
        states.iter().enumerate().map(|(n, state)| (format!("pod-{n}"), replica(state))).collect()
    }

    #[test]
    fn one_failing_replica_is_a_failing_server() {
        assert!(matches!(health("crm", &replicas(&["Ready", "Failed"])), Health::Failed(_)));
    }

    #[test]
    fn a_replica_that_still_connects_hides_nothing() {
        assert!(matches!(health("crm", &replicas(&["Pending", "Ready"])), Health::Ready(_)));
        assert_eq!(health("crm", &replicas(&["Pending"])), Health::Pending);
        assert_eq!(health("other", &replicas(&["Ready"])), Health::NotProgrammed);
    }
}
