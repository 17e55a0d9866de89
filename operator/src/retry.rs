//! When an object is looked at again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::controller::Action;

use crate::child::ApplyError;

/// Once the cause is known and is somebody else's to mend, at most one try in this time.
const KNOWN_CAUSE: Duration = Duration::from_secs(30);
/// A look without a cause, against events that were never sent. It writes nothing where nothing changed.
const RESYNC: Duration = Duration::from_secs(600);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The next look after a problem that a user has to mend; a change of anything involved comes sooner.
pub fn known_cause() -> Action {
    Action::requeue(jittered(KNOWN_CAUSE))
}

/// The next look after everything was applied that could be.
///
/// # Errors
/// The first transient failure, which the caller's backoff then spaces.
pub fn after(errors: Vec<ApplyError>, timer: Option<Duration>) -> Result<Action, ApplyError> {
    let has_known_cause = errors.iter().any(|error| !error.is_transient());
    if let Some(transient) = errors.into_iter().find(ApplyError::is_transient) {
        return Err(transient);
    }
    if has_known_cause {
        return Ok(known_cause());
    }
    Ok(Action::requeue(timer.unwrap_or_else(|| jittered(RESYNC))))
}

/// `base` and up to a quarter more, so that a thousand objects do not come back at once.
fn jittered(base: Duration) -> Duration {
    base + base.mul_f64(rand::random::<f64>() / 4.0)
}

/// Consecutive failures per object.
#[derive(Default)]
pub struct Backoff {
    failures: Mutex<HashMap<String, (u32, Instant)>>,
}

impl Backoff {
    /// The time until the next try of an object that failed just now.
    pub fn failed(&self, object: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, at) = failures.entry(object.to_owned()).or_insert_with(|| (0, Instant::now()));
        *at = Instant::now();
        let wait = FIRST_RETRY.saturating_mul(1 << (*count).min(10)).min(LAST_RETRY);
        *count += 1;
        jittered(wait)
    }

    /// Forgets objects that have not been tried for long: they are gone.
    pub fn sweep(&self) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, (_, at)| at.elapsed() < RESYNC);
    }

    /// Forgets the failures of an object that went well.
    pub fn succeeded(&self, object: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_longer_and_success_resets() {
        let backoff = Backoff::default();
        let first = backoff.failed("a");
        assert!(first < FIRST_RETRY.mul_f64(1.3));
        for _ in 0..20 {
            backoff.failed("a");
        }
        assert!(backoff.failed("a") >= LAST_RETRY);
        assert!(backoff.failed("b") < LAST_RETRY);
        backoff.succeeded("a");
        assert!(backoff.failed("a") < FIRST_RETRY.mul_f64(1.3));
    }
}
