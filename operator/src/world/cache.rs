//! A small map that a watch keeps current.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::runtime::watcher::Event;

/// Namespace (empty for cluster-scoped kinds) and name.
pub type Key = (String, String);

/// What a watch showed last, by name. Values are small: the watch prunes before it stores.
pub struct Cache<V> {
    inner: Mutex<Inner<V>>,
}

struct Inner<V> {
    values: HashMap<Key, V>,
    listing: Option<HashSet<Key>>,
    ready: bool,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Cache { inner: Mutex::new(Inner { values: HashMap::new(), listing: None, ready: false }) }
    }
}

impl<V: Clone + PartialEq> Cache<V> {
    /// The value under a name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<V> {
        self.lock().values.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Every entry for which `pick` gives something.
    pub fn collect<T>(&self, mut pick: impl FnMut(&Key, &V) -> Option<T>) -> Vec<T> {
        self.lock().values.iter().filter_map(|(key, value)| pick(key, value)).collect()
    }

    /// Whether the first list is complete.
    pub fn is_ready(&self) -> bool {
        self.lock().ready
    }

    /// Takes an event; gives the entries that changed, before and after.
    pub fn take(&self, event: Event<(Key, V)>) -> Vec<(Key, Option<V>, Option<V>)> {
        let mut inner = self.lock();
        match event {
            Event::Init => {
                inner.listing = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply((key, value)) | Event::Apply((key, value)) => {
                if let Some(seen) = &mut inner.listing {
                    seen.insert(key.clone());
                }
                let old = inner.values.insert(key.clone(), value.clone());
                if old.as_ref() == Some(&value) { Vec::new() } else { vec![(key, old, Some(value))] }
            }
            Event::Delete((key, _)) => {
                let old = inner.values.remove(&key);
                vec![(key, old, None)]
            }
            Event::InitDone => {
                inner.ready = true;
                let seen = inner.listing.take().unwrap_or_default();
                let gone: Vec<Key> = inner.values.keys().filter(|key| !seen.contains(*key)).cloned().collect();
                gone.into_iter()
                    .map(|key| {
                        let old = inner.values.remove(&key);
                        (key, old, None)
                    })
                    .collect()
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
