//! When each pool is looked at, by one at a time, and what its replicas said last.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

/// How often the pools are looked through for one that is due. No request is made for one that is not.
const TICK: Duration = Duration::from_millis(200);
/// Pools that are looked at at the same time. One whose replicas do not answer takes one of these places, and no other.
const PARALLEL_POOLS: usize = 64;

/// Reports of the replicas of all pools of a scope: `D` is what they should run, `R` one replica's answer.
pub struct Rounds<D, R> {
    pools: Mutex<HashMap<String, Look<D, R>>>,
}

/// What is known of one pool.
#[derive(Clone)]
pub(crate) struct Look<D, R> {
    pub(crate) desired: D,
    /// When the desired state last changed.
    pub(crate) since: Instant,
    /// `None` while somebody looks.
    due: Option<Instant>,
    /// Since when nothing has changed: neither what is desired, nor what the replicas say.
    quiet_since: Instant,
    /// `None` until the replicas were looked at once.
    pub(crate) replicas: Option<BTreeMap<String, R>>,
}

/// Somebody who looks.
pub(crate) trait Task<D, R> {
    /// Looks at one pool, and reports or postpones.
    async fn look(&self, pool_uid: String, pool: Look<D, R>);
}

impl<D, R> Default for Rounds<D, R> {
    fn default() -> Self {
        Rounds { pools: Mutex::default() }
    }
}

impl<D: Clone + PartialEq, R: Clone + PartialEq> Rounds<D, R> {
    /// Says what the pool with this uid should run from now on; true when that is something else than before.
    pub fn want(&self, pool_uid: &str, desired: D) -> bool {
        let now = Instant::now();
        let mut pools = self.lock();
        match pools.get_mut(pool_uid) {
            Some(look) if look.desired == desired => return false,
            Some(look) => {
                look.desired = desired;
                look.since = now;
                look.quiet_since = now;
                look.due = Some(now);
            }
            None => {
                let look = Look { desired, since: now, due: Some(now), quiet_since: now, replicas: None };
                pools.insert(pool_uid.to_owned(), look);
            }
        }
        true
    }

    /// The same for a pool of which nothing is known, as after a restart; whatever is known stays.
    pub fn want_if_unknown(&self, pool_uid: &str, desired: &D) {
        if !self.lock().contains_key(pool_uid) {
            self.want(pool_uid, desired.clone());
        }
    }

    /// Looks at the pool again at once, for example because a Pod changed.
    pub fn hurry(&self, pool_uid: &str) {
        if let Some(look) = self.lock().get_mut(pool_uid) {
            look.quiet_since = Instant::now();
            look.due = Some(look.quiet_since);
        }
    }

    /// Forgets a pool that is gone.
    pub fn forget(&self, pool_uid: &str) {
        self.lock().remove(pool_uid);
    }

    /// The last report of each replica, by Pod name; `None` while nobody has looked, as after a restart.
    pub fn replicas(&self, pool_uid: &str) -> Option<BTreeMap<String, R>> {
        self.lock().get(pool_uid).and_then(|look| look.replicas.clone())
    }

    /// Something about one pool.
    pub(crate) fn with<T>(&self, pool_uid: &str, see: impl FnOnce(&Look<D, R>) -> T) -> Option<T> {
        self.lock().get(pool_uid).map(see)
    }

    /// Whether some pool should run something of which this is true.
    pub(crate) fn any(&self, is: impl Fn(&D) -> bool) -> bool {
        self.lock().values().any(|look| is(&look.desired))
    }

    /// Pools that are due, at most so many, the longest due first. Each is looked at by whoever took it until it reports.
    pub(crate) fn take_due(&self, now: Instant, most: usize) -> Vec<(String, Look<D, R>)> {
        let mut pools = self.lock();
        let mut due: Vec<_> = pools.iter_mut().filter(|(_, look)| look.due.is_some_and(|due| due <= now)).collect();
        due.sort_by_key(|(_, look)| look.due);
        let take = |(uid, look): (&String, &mut Look<D, R>)| {
            look.due = None;
            (uid.clone(), look.clone())
        };
        due.into_iter().take(most).map(take).collect()
    }

    /// Looks at the pool later, when it could not be looked at now.
    pub(crate) fn postpone(&self, pool_uid: &str, pause: Duration) {
        if let Some(look) = self.lock().get_mut(pool_uid) {
            look.due.get_or_insert_with(|| Instant::now() + pause);
        }
    }

    /// Takes new reports. Gives those of before when `is_news` says that somebody should know of the new ones. `pause`
    /// gives the time until the next look from the time for which there was no news.
    pub(crate) fn report(
        &self,
        pool_uid: &str,
        replicas: BTreeMap<String, R>,
        looked_at: &D,
        is_news: impl Fn(&BTreeMap<String, R>, &BTreeMap<String, R>) -> bool,
        pause: impl Fn(Duration) -> Duration,
    ) -> bool {
        let mut pools = self.lock();
        let Some(look) = pools.get_mut(pool_uid) else { return false };
        let now = Instant::now();
        let news = look.replicas.as_ref().is_none_or(|before| is_news(before, &replicas));
        look.replicas = Some(replicas);
        if news {
            look.quiet_since = now;
        }
        // Whoever asked for a look meanwhile gets it.
        if look.desired == *looked_at {
            look.due.get_or_insert(now + pause(now.duration_since(look.quiet_since)));
        }
        news
    }

    /// Has `task` look at every pool that is due, until `stop`.
    pub(crate) async fn run(&self, task: &impl Task<D, R>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = looks.next() => {}
                _ = tick.tick() => {
                    let free = PARALLEL_POOLS.saturating_sub(looks.len());
                    looks.extend(self.take_due(Instant::now(), free).into_iter().map(|(uid, look)| task.look(uid, look)));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Look<D, R>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds() -> Rounds<&'static str, u8> {
        let rounds = Rounds::default();
        rounds.want("uid", "new");
        report(&rounds, 1);
        rounds
    }

    fn report(rounds: &Rounds<&'static str, u8>, answer: u8) -> bool {
        let replicas = BTreeMap::from([("a".to_owned(), answer)]);
        rounds.report("uid", replicas, &"new", |old, new| old != new, |_| Duration::ZERO)
    }

    #[test]
    fn a_pool_is_looked_at_by_one_at_a_time_and_the_longest_due_first() {
        let rounds = rounds();
        assert_eq!(rounds.take_due(Instant::now(), 1).len(), 1);
        assert!(rounds.take_due(Instant::now(), 1).is_empty());
        rounds.postpone("uid", Duration::ZERO);
        assert_eq!(rounds.take_due(Instant::now(), 1).len(), 1);
        rounds.hurry("uid");
        assert!(rounds.take_due(Instant::now(), 0).is_empty());
    }

    #[test]
    fn the_first_report_and_a_changed_one_are_news() {
        let rounds = rounds();
        assert!(!report(&rounds, 1));
        assert!(report(&rounds, 2));
        rounds.forget("uid");
        assert!(!report(&rounds, 3), "of a pool that is gone nobody wants to know");
    }

    #[test]
    fn what_is_known_is_not_replaced_by_a_guess() {
        let rounds = rounds();
        rounds.want_if_unknown("uid", &"guess");
        assert_eq!(rounds.with("uid", |look| look.desired), Some("new"));
        assert!(!rounds.want("uid", "new"));
        assert!(rounds.want("uid", "newer"));
    }
}
