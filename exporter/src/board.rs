//! How it stands with every destination, for the API, the metrics and the other replicas.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::wire;
use crate::setup::Ready;
use crate::stream::{Note, Replayed, State};
use crate::tally::Tally;
use crate::worker::Condition;

/// Every destination of the running configuration, by its id, and every export by its name.
#[derive(Default)]
pub struct Board {
    entries: Mutex<BTreeMap<String, Arc<Entry>>>,
    exports: Mutex<BTreeMap<String, Arc<Unrouted>>>,
}

/// Events of an export that no route took.
#[derive(Debug, Default)]
pub struct Unrouted {
    /// At this replica.
    pub seen: AtomicU64,
    /// Of these, those that Redis was not told of yet.
    untold: AtomicU64,
    /// At all replicas, as Redis said last.
    pub total: AtomicU64,
}

impl Unrouted {
    /// One more.
    pub fn count(&self) {
        self.seen.fetch_add(1, Ordering::Relaxed);
        self.untold.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes away what Redis is to be told.
    pub fn take(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }

    /// Puts back what it did not take.
    pub fn put_back(&self, count: u64) {
        self.untold.fetch_add(count, Ordering::Relaxed);
    }
}

/// One destination.
pub struct Entry {
    /// `EXPORT/DESTINATION`.
    pub id: String,
    /// What it has done at this replica.
    pub tally: Tally,
    shown: Mutex<Shown>,
    /// Its group was there while this process runs.
    has_group: AtomicBool,
}

/// What is known of a destination.
#[derive(Clone, Default)]
pub struct Shown {
    /// As this replica sees it.
    pub state: wire::State,
    /// The code of the last answer that was no success.
    pub code: Option<String>,
    /// The field that is wrong.
    pub field: Option<String>,
    /// To send a test event.
    pub ready: Option<Ready>,
    /// What Redis said last.
    pub queue: State,
    /// The newest replay.
    pub replay: Option<Replayed>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// The entry of a destination, which is made if there is none.
    pub fn entry(&self, id: &str) -> Arc<Entry> {
        let new = || {
            Arc::new(Entry {
                id: id.to_owned(),
                tally: Tally::default(),
                shown: Mutex::default(),
                has_group: AtomicBool::new(false),
            })
        };
        lock(&self.entries).entry(id.to_owned()).or_insert_with(new).clone()
    }

    /// The entry of a destination.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Entry>> {
        lock(&self.entries).get(id).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        lock(&self.entries).values().cloned().collect()
    }

    /// The exports, with their events that no route took.
    #[must_use]
    pub fn exports(&self) -> Vec<(String, Arc<Unrouted>)> {
        lock(&self.exports).iter().map(|(name, unrouted)| (name.clone(), unrouted.clone())).collect()
    }

    /// Where the unrouted events of an export are counted.
    pub fn unrouted(&self, export: &str) -> Arc<Unrouted> {
        lock(&self.exports).entry(export.to_owned()).or_default().clone()
    }

    /// Forgets what is not of these.
    pub fn keep(&self, ids: &[String], exports: &[String]) {
        lock(&self.entries).retain(|id, _| ids.contains(id));
        lock(&self.exports).retain(|name, _| exports.contains(name));
    }
}

impl Entry {
    /// Whether its group was there while this process runs: one that is gone since was lost with the rest of its Redis.
    #[must_use]
    pub fn has_group(&self) -> bool {
        self.has_group.load(Ordering::Relaxed)
    }

    /// Its group is there.
    pub fn found_group(&self) {
        self.has_group.store(true, Ordering::Relaxed);
    }

    /// What is known.
    #[must_use]
    pub fn shown(&self) -> Shown {
        lock(&self.shown).clone()
    }

    /// Changes what is known.
    pub fn update(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut lock(&self.shown));
    }

    /// As the API tells it. What a configuration decides is this replica's own to say; for the rest, the newest news of any
    /// replica that lives counts.
    #[must_use]
    pub fn wire(&self) -> wire::Destination {
        let Shown { state, code, field, ready, queue, replay } = self.shown();
        let decided = matches!(state, wire::State::Invalid | wire::State::Disabled);
        let (state, code, field) = match queue.note.filter(|_| !decided) {
            Some(Note { condition, code, field }) => {
                let known = wire::State::ALL.into_iter().find(|state| state.as_str() == condition);
                (known.unwrap_or(state), code, field)
            }
            // Nobody who lives has sent anything; what was taken before is known all the same.
            None if state == wire::State::Idle && queue.last_delivered.is_some() => {
                (wire::State::Delivering, None, None)
            }
            None => (state, code, field),
        };
        wire::Destination {
            id: self.id.clone(),
            state,
            assurance: ready.map(|ready| ready.platform.assurance().as_str().to_owned()),
            last_delivered_time: queue.last_delivered,
            delivered: queue.delivered,
            dropped: queue.dropped,
            lost: queue.lost,
            possibly_lost: queue.possibly_lost,
            backlog: queue.backlog,
            dead: queue.dead,
            last_error_code: code,
            field,
            replay: replay.map(|Replayed { id, delivered, done }| wire::Replay { id, delivered, done }),
        }
    }
}

/// A worker's condition in the words of the API: state, code, field.
#[must_use]
pub fn of_condition(condition: &Condition) -> (wire::State, Option<String>, Option<String>) {
    match condition {
        Condition::Idle => (wire::State::Idle, None, None),
        Condition::Delivering => (wire::State::Delivering, None, None),
        Condition::Retrying(code) => (wire::State::Retrying, Some(code.as_str().to_owned()), None),
        Condition::AuthRejected(code) => (wire::State::AuthRejected, Some(code.as_str().to_owned()), None),
        Condition::Rejected(code, field) => {
            (wire::State::Rejected, Some(code.as_str().to_owned()), Some((*field).to_owned()))
        }
    }
}
