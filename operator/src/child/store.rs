//! The children that exist, as watches and applies show them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::watcher::Event;
use serde_json::Value;

use super::{ChildKey, Kind, Observed};

/// Every child of one scope, by name and by owner. Writers are the watch of each kind and `Applier`.
#[derive(Default)]
pub struct ChildStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    children: HashMap<Arc<ChildKey>, Entry>,
    by_owner: HashMap<Box<str>, Vec<Arc<ChildKey>>>,
    listing: HashMap<Kind, HashSet<ChildKey>>,
    ready: HashSet<Kind>,
    /// Optional kinds that the cluster does not give.
    unserved: HashSet<Kind>,
}

struct Entry {
    observed: Observed,
    /// Digest of owned fields that is known to be the desired one.
    good: Option<u64>,
}

impl ChildStore {
    /// What is known of a child.
    pub fn get(&self, key: &ChildKey) -> Option<Observed> {
        self.lock().children.get(key).map(|entry| entry.observed.clone())
    }

    /// A child, with whether its owned fields are known to be as desired.
    pub(super) fn get_with_good(&self, key: &ChildKey) -> Option<(Observed, Option<u64>)> {
        self.lock().children.get(key).map(|entry| (entry.observed.clone(), entry.good))
    }

    /// The children that an owner has now.
    pub fn owned_by(&self, owner_uid: &str) -> Vec<ChildKey> {
        self.lock().by_owner.get(owner_uid).into_iter().flatten().map(|key| ChildKey::clone(key)).collect()
    }

    /// Kinds whose first list is not complete yet.
    pub fn pending(&self) -> Vec<Kind> {
        let inner = self.lock();
        Kind::ALL.into_iter().filter(|kind| !inner.ready.contains(kind)).collect()
    }

    /// Whether children of a kind can be made.
    pub fn is_served(&self, kind: Kind) -> bool {
        !self.lock().unserved.contains(&kind)
    }

    /// Takes note that the cluster does not give a kind: there are no children of it. True when that is news.
    pub fn set_unserved(&self, kind: Kind) -> bool {
        let mut inner = self.lock();
        let gone: Vec<Arc<ChildKey>> = inner.children.keys().filter(|key| key.kind == kind).cloned().collect();
        for key in gone {
            inner.remove(&key);
        }
        inner.listing.remove(&kind);
        inner.ready.insert(kind);
        inner.unserved.insert(kind)
    }

    /// Takes note that it does. True when that is news.
    pub fn set_served(&self, kind: Kind) -> bool {
        self.lock().unserved.remove(&kind)
    }

    /// Takes the answer to an apply: newer than any watch event, and desired by definition.
    pub(super) fn record_applied(&self, key: ChildKey, live: &Value) -> Observed {
        let observed = Observed::from_live(key.kind, live);
        let good = Some(observed.digest);
        self.lock().insert(key, observed.clone(), good);
        observed
    }

    /// Takes note that the child's owned fields, as they are now, are what is desired.
    pub(super) fn mark_good(&self, key: &ChildKey, digest: u64) {
        if let Some(entry) = self.lock().children.get_mut(key) {
            entry.good = Some(digest);
        }
    }

    /// Forgets a child that a read showed to be gone.
    pub(super) fn forget(&self, key: &ChildKey) {
        self.lock().remove(key);
    }

    /// Takes a watch event. Gives the owners (kind, namespace, name) whose state may have changed.
    pub fn take(&self, kind: Kind, event: Event<(ChildKey, Value)>) -> Vec<(Box<str>, String, Box<str>)> {
        let mut inner = self.lock();
        let mut touched = Vec::new();
        let mut touch = |observed: &Observed, namespace: &str| {
            if let Some((kind, name, _)) = &observed.owner {
                touched.push((kind.clone(), namespace.to_owned(), name.clone()));
            }
        };
        match event {
            Event::Init => {
                inner.listing.insert(kind, HashSet::new());
            }
            Event::InitApply((key, live)) | Event::Apply((key, live)) => {
                if let Some(seen) = inner.listing.get_mut(&kind) {
                    seen.insert(key.clone());
                }
                let observed = Observed::from_live(key.kind, &live);
                let known = inner.children.get(&key);
                let stale = known.is_some_and(|entry| {
                    entry.observed.uid == observed.uid && entry.observed.resource_version >= observed.resource_version
                });
                if !stale {
                    let good = known.filter(|entry| entry.observed.uid == observed.uid).and_then(|entry| entry.good);
                    if known.is_none_or(|entry| entry.observed.differs(&observed)) {
                        touch(&observed, &key.namespace);
                        // Who lost the child has to know too.
                        if let Some(before) = known.filter(|entry| entry.observed.owner != observed.owner) {
                            touch(&before.observed, &key.namespace);
                        }
                    }
                    inner.insert(key, observed, good);
                }
            }
            Event::Delete((key, live)) => {
                let gone = Observed::from_live(key.kind, &live);
                let current = inner.children.get(&key).is_none_or(|entry| entry.observed.uid == gone.uid);
                touch(&gone, &key.namespace);
                if current {
                    inner.remove(&key);
                }
            }
            Event::InitDone => {
                let seen = inner.listing.remove(&kind).unwrap_or_default();
                let gone: Vec<Arc<ChildKey>> = inner
                    .children
                    .keys()
                    .filter(|key| key.kind == kind && !seen.contains(key.as_ref()))
                    .cloned()
                    .collect();
                for key in gone {
                    if let Some(entry) = inner.children.get(&key) {
                        touch(&entry.observed.clone(), &key.namespace);
                    }
                    inner.remove(&key);
                }
                inner.ready.insert(kind);
            }
        }
        touched
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock was held can not leave half an entry behind: every change is one insert or remove.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, key: ChildKey, observed: Observed, good: Option<u64>) {
        self.remove(&key);
        let key = Arc::new(key);
        if let Some((_, _, uid)) = &observed.owner {
            self.by_owner.entry(uid.clone()).or_default().push(key.clone());
        }
        self.children.insert(key, Entry { observed, good });
    }

    fn remove(&mut self, key: &ChildKey) {
        let Some(entry) = self.children.remove(key) else { return };
        let Some((_, _, uid)) = &entry.observed.owner else { return };
        if let Some(keys) = self.by_owner.get_mut(uid) {
            keys.retain(|other| other.as_ref() != key);
            if keys.is_empty() {
                self.by_owner.remove(uid);
            }
        }
    }
}
