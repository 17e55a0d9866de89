//! The last answer of every replica, by pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use exporter::api::wire::{Destination, Destinations};

use crate::admin::Rounds;

/// What a pool's exporters should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Namespace of the pool.
    pub namespace: String,
    /// Name of the pool.
    pub pool: String,
    /// Hash of the configuration; `None` where it is not known, as of a pool whose spec is refused since before the operator
    /// started.
    pub revision: Option<String>,
    /// Hash of the sources of the copied credentials; `None` when there are none, or they are not known.
    pub credentials: Option<String>,
    /// Name and uid of the Secret with the token.
    pub admin_secret: (String, String),
    /// SiemExports in the configuration: uid and generation by name.
    pub exports: BTreeMap<String, (String, i64)>,
}

/// One replica's answer, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica(pub Result<Arc<Destinations>, String>);

impl Replica {
    /// Whether it runs what it should.
    pub fn in_sync(&self, desired: &Desired) -> bool {
        let Ok(answer) = &self.0 else { return false };
        desired.revision.as_ref().is_none_or(|revision| answer.revision == *revision)
            && (desired.credentials.is_none() || answer.credentials_revision == desired.credentials)
    }

    /// Why it refuses a newer configuration.
    pub fn error(&self) -> Option<&str> {
        self.0.as_ref().ok()?.last_error.as_deref()
    }
}

/// Answers of all pools of a scope.
pub(super) type ExporterView = Rounds<Desired, Replica>;

impl ExporterView {
    /// One answer for all replicas.
    pub(super) fn answer(&self, pool_uid: &str) -> Option<Arc<Destinations>> {
        self.with(pool_uid, |look| merged(look.replicas.as_ref()?, &look.desired))?
    }

    /// Whether every replica that answers runs a configuration with this version of a SiemExport; `None` while nobody has
    /// looked.
    pub(super) fn is_programmed(&self, pool_uid: &str, export: &str, uid: &str, generation: i64) -> Option<bool> {
        self.with(pool_uid, |look| {
            let replicas = look.replicas.as_ref()?;
            let rendered = look.desired.exports.get(export).is_some_and(|(u, g)| u == uid && *g == generation);
            let mut answering = replicas.values().filter(|replica| replica.0.is_ok()).peekable();
            Some(rendered && answering.peek().is_some() && answering.all(|replica| replica.in_sync(&look.desired)))
        })?
    }
}

/// The answer of a replica that runs what it should, with the worst state that any of those has for a destination: one that
/// has no network to a platform does not deliver there, whatever the others do.
fn merged(replicas: &BTreeMap<String, Replica>, desired: &Desired) -> Option<Arc<Destinations>> {
    let answers = |in_sync: bool| -> Vec<&Arc<Destinations>> {
        let chosen = replicas.values().filter(|replica| !in_sync || replica.in_sync(desired));
        chosen.filter_map(|replica| replica.0.as_ref().ok()).collect()
    };
    let current = Some(answers(true)).filter(|current| !current.is_empty()).unwrap_or_else(|| answers(false));
    let (first, others) = current.split_first()?;
    if others.is_empty() {
        return Some(Arc::clone(first));
    }
    let mut merged = Destinations::clone(first);
    for one in &mut merged.destinations {
        let same = others.iter().filter_map(|other| other.destinations.iter().find(|d| d.id == one.id));
        if let Some(worst) = same.max_by_key(|d| d.state).filter(|worst| worst.state > one.state) {
            one.state = worst.state;
            one.last_error_code.clone_from(&worst.last_error_code);
            one.field.clone_from(&worst.field);
        }
    }
    for one in &mut merged.exports {
        let same = others.iter().filter_map(|other| other.exports.iter().find(|export| export.name == one.name));
        // Each says what all of them have counted, as Redis told it last.
        one.unrouted = same.map(|export| export.unrouted).fold(one.unrouted, u64::max);
    }
    Some(Arc::new(merged))
}

/// Whether somebody should know of new answers at once: something else than figures changed.
pub(super) fn is_news(before: &BTreeMap<String, Replica>, after: &BTreeMap<String, Replica>) -> bool {
    before.len() != after.len()
        || before.iter().zip(after).any(|((name, old), (other, new))| name != other || standing(old) != standing(new))
}

/// An answer without its figures.
fn standing(replica: &Replica) -> Result<Destinations, String> {
    let answer = replica.0.as_ref().map_err(Clone::clone)?;
    let destinations = answer.destinations.iter().map(|one| Destination {
        last_delivered_time: None,
        delivered: 0,
        // That there are any is news, and how many is not.
        dropped: one.dropped.min(1),
        lost: one.lost.min(1),
        possibly_lost: one.possibly_lost.min(1),
        backlog: one.backlog.map(|_| 0),
        dead: one.dead.min(1),
        replay: one.replay.clone().map(|replay| exporter::api::wire::Replay { delivered: 0, ..replay }),
        ..one.clone()
    });
    let exports = answer
        .exports
        .iter()
        .map(|export| exporter::api::wire::Export { unrouted: export.unrouted.min(1), ..export.clone() });
    Ok(Destinations { destinations: destinations.collect(), exports: exports.collect(), ..Destinations::clone(answer) })
}

#[cfg(test)]
mod tests {
    use exporter::api::wire::{Export, State};
    use std::time::Duration;

    use super::*;

    fn desired() -> Desired {
        Desired {
            namespace: "gateways".into(),
            pool: "prod".into(),
            revision: Some("new".into()),
            credentials: Some("c7".into()),
            admin_secret: ("prod-exporter-admin".into(), "secret-uid".into()),
            exports: BTreeMap::from([("soc".to_owned(), ("soc-uid".to_owned(), 3))]),
        }
    }

    fn replica(revision: &str, state: State, delivered: u64) -> Replica {
        let destination = serde_json::json!({
            "id": "soc/splunk", "state": state.as_str(), "delivered": delivered, "dropped": 0, "lost": 0,
            "possiblyLost": 0, "dead": 0,
        });
        Replica(Ok(Arc::new(Destinations {
            revision: revision.into(),
            credentials_revision: Some("c7".into()),
            exports: vec![Export { name: "soc".into(), unrouted: 2 }],
            destinations: vec![serde_json::from_value(destination).unwrap()],
            ..Destinations::default()
        })))
    }

    fn named(replicas: &[Replica]) -> BTreeMap<String, Replica> {
        replicas.iter().enumerate().map(|(n, replica)| (n.to_string(), replica.clone())).collect()
    }

    fn view(replicas: &[Replica]) -> ExporterView {
        let view = ExporterView::default();
        view.want("uid", desired());
        view.report("uid", named(replicas), &desired(), is_news, |_| Duration::ZERO);
        view
    }

    #[test]
    fn the_worst_state_of_the_current_replicas_counts_and_figures_count_once() {
        let good = replica("new", State::Delivering, 7);
        let bad = replica("new", State::AuthRejected, 7);
        let late = replica("old", State::Invalid, 1);
        let dead = Replica(Err("no answer in time".into()));
        for (replicas, state, unrouted) in [
            (&[good.clone(), bad.clone(), late.clone(), dead.clone()][..], State::AuthRejected, 2),
            (&[bad, good.clone()], State::AuthRejected, 2),
            (&[late.clone(), good], State::Delivering, 2),
            (&[late, dead.clone()], State::Invalid, 2),
        ] {
            let answer = view(replicas).answer("uid").unwrap();
            assert_eq!((answer.destinations[0].state, answer.exports[0].unrouted), (state, unrouted), "{replicas:?}");
        }
        assert_eq!(view(&[dead]).answer("uid"), None);
        assert_eq!(view(&[]).answer("uid"), None);
        assert_eq!(ExporterView::default().answer("uid"), None);
    }

    #[test]
    fn a_replica_is_in_sync_with_both_revisions_or_with_what_is_known_of_them() {
        let good = replica("new", State::Idle, 0);
        assert!(good.in_sync(&desired()));
        assert!(!good.in_sync(&Desired { credentials: Some("c8".into()), ..desired() }));
        assert!(!good.in_sync(&Desired { revision: Some("newer".into()), ..desired() }));
        assert!(good.in_sync(&Desired { credentials: None, revision: None, ..desired() }));
        assert!(!Replica(Err("gone".into())).in_sync(&Desired { credentials: None, revision: None, ..desired() }));
    }

    #[test]
    fn figures_alone_are_no_news() {
        let one = |state, delivered| named(&[replica("new", state, delivered)]);
        assert!(!is_news(&one(State::Delivering, 1), &one(State::Delivering, 9)));
        assert!(is_news(&one(State::Delivering, 1), &one(State::Retrying, 1)));
        assert!(is_news(&one(State::Delivering, 1), &named(&[])));
        assert!(is_news(&one(State::Delivering, 1), &named(&[Replica(Err("gone".into()))])));
    }

    #[test]
    fn an_export_is_programmed_when_every_replica_that_answers_runs_this_version() {
        let (good, late) = (replica("new", State::Idle, 0), replica("old", State::Idle, 0));
        let dead = Replica(Err("no answer in time".into()));
        for (replicas, programmed) in [
            (&[good.clone(), dead.clone()][..], true),
            (&[good.clone(), late.clone()], false),
            (&[dead], false),
            (&[], false),
        ] {
            let view = view(replicas);
            assert_eq!(view.is_programmed("uid", "soc", "soc-uid", 3), Some(programmed), "{replicas:?}");
            assert_eq!(view.is_programmed("uid", "soc", "soc-uid", 4), Some(false), "another generation");
            assert_eq!(view.is_programmed("uid", "other", "soc-uid", 3), Some(false));
        }
        assert_eq!(ExporterView::default().is_programmed("uid", "soc", "soc-uid", 3), None);
    }
}
