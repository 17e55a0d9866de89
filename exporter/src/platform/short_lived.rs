//! Credentials that last for minutes: access tokens, sessions.
//!
//! Promises: one is asked for when the first request needs it and again shortly before it ends, once for all requests
//! that wait for it; one that a platform refuses is replaced once per attempt. Must never ask for one again and again
//! on behalf of requests that all waited for the same refusal.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::answer::Verdict;
use crate::cause::Cause;
use crate::http::Reply;

/// So long before its end a credential is not used any more, unless that is most of its life.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// The longest that one is kept, whatever an answer says of its life.
const MOST: Duration = Duration::from_secs(24 * 3600);

/// One credential, kept while it lasts.
pub(super) struct ShortLived<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    current: Option<Current<T>>,
    /// Counts the credentials.
    number: u64,
    refused: Option<(Instant, Verdict)>,
}

struct Current<T> {
    value: T,
    until: Instant,
}

/// A credential for a request.
struct Held<T> {
    value: T,
    number: u64,
    /// Asked for by this very attempt.
    fresh: bool,
}

impl<T: Clone> ShortLived<T> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { current: None, number: 0, refused: None }) }
    }

    /// Sends with the credential; where the answer says that it is stale, once more with a new one.
    ///
    /// `fetch` gives a credential and how long it lasts from the time before it was asked for.
    ///
    /// # Errors
    /// What a credential or an answer that is not there means for all events.
    pub(super) async fn send<F, S>(
        &self,
        deadline: Instant,
        fetch: impl Fn() -> F,
        send: impl Fn(T) -> S,
        is_stale: impl Fn(&Reply) -> bool,
    ) -> Result<Reply, Verdict>
    where
        F: Future<Output = Result<(T, Duration), Verdict>>,
        S: Future<Output = Result<Reply, Cause>>,
    {
        let held = self.get(deadline, None, fetch()).await?;
        let reply = send(held.value).await.map_err(Cause::verdict)?;
        if held.fresh || !is_stale(&reply) {
            return Ok(reply);
        }
        let other = self.get(deadline, Some(held.number), fetch()).await?;
        send(other.value).await.map_err(Cause::verdict)
    }

    /// The credential, but not the one of this number.
    async fn get(
        &self,
        deadline: Instant,
        stale: Option<u64>,
        fetch: impl Future<Output = Result<(T, Duration), Verdict>>,
    ) -> Result<Held<T>, Verdict> {
        let asked = Instant::now();
        let wait = timeout_at(deadline, self.state.lock());
        let mut state = wait.await.map_err(|_| Cause::Timeout.verdict())?;
        let number = state.number;
        if let Some(Current { value, until }) = &state.current
            && *until > Instant::now()
            && stale != Some(number)
        {
            return Ok(Held { value: value.clone(), number, fresh: false });
        }
        if let Some((at, verdict)) = &state.refused
            && *at >= asked
        {
            return Err(verdict.clone());
        }
        let begun = Instant::now();
        let fetched = timeout_at(deadline, fetch).await.unwrap_or_else(|_| Err(Cause::Timeout.verdict()));
        match fetched {
            Ok((value, lifetime)) => {
                let lifetime = lifetime.min(MOST);
                let until = begun + (lifetime - MARGIN.min(lifetime / 4));
                let number = number + 1;
                *state = State { current: Some(Current { value: value.clone(), until }), number, refused: None };
                Ok(Held { value, number, fresh: true })
            }
            Err(verdict) => {
                state.refused = Some((Instant::now(), verdict.clone()));
                Err(verdict)
            }
        }
    }
}

/// Reads the token of a service account: anew each time, because the kubelet writes it anew.
///
/// # Errors
/// The file is not there, or holds no token. It may yet come.
pub(super) async fn service_account_token(path: &std::path::Path) -> Result<secrecy::SecretString, Verdict> {
    use tokio::io::AsyncReadExt as _;
    /// Tokens have one or two KB.
    const MAX_BYTES: u64 = 64 << 10;
    let read = async {
        let mut text = String::new();
        tokio::fs::File::open(path).await?.take(MAX_BYTES).read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    match read.await {
        Ok(text) if !text.trim().is_empty() => Ok(text.into()),
        _ => Err(Verdict::Auth { code: crate::answer::Code::fixed("identity-token-file") }),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::future::join_all;

    use super::*;
    use crate::answer::Code;

    const HOUR: Duration = Duration::from_secs(3600);

    fn deadline() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_asked_for_by_all_and_kept_until_shortly_before_its_end() {
        let (kept, count) = (ShortLived::new(), Cell::new(0));
        let fetch = || async {
            count.set(count.get() + 1);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok((count.get(), HOUR))
        };
        let all = join_all((0..32).map(|_| kept.get(deadline(), None, fetch()))).await;
        assert!(all.into_iter().all(|held| held.is_ok_and(|held| held.value == 1)));
        // Counted from the time before it was asked for.
        tokio::time::advance(HOUR - MARGIN - Duration::from_millis(1_001)).await;
        assert!(kept.get(deadline(), None, fetch()).await.is_ok_and(|held| held.value == 1 && !held.fresh));
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(kept.get(deadline(), None, fetch()).await.is_ok_and(|held| held.value == 2 && held.fresh));
        assert_eq!(count.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_is_for_all_who_waited_for_it_and_for_nobody_after() {
        let (kept, count) = (ShortLived::<u32>::new(), Cell::new(0));
        let verdict = Verdict::Auth { code: Code::fixed("invalid_client") };
        let fetch = || async {
            count.set(count.get() + 1);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err(verdict.clone())
        };
        let all = join_all((0..32).map(|_| kept.get(deadline(), None, fetch()))).await;
        assert!(all.into_iter().all(|held| held.err() == Some(verdict.clone())));
        assert_eq!(count.get(), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(kept.get(deadline(), None, fetch()).await.is_err());
        assert_eq!(count.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn stale_one_is_replaced_once_for_all_who_hold_it() {
        let (kept, count) = (ShortLived::new(), Cell::new(0));
        let fetch = || async {
            count.set(count.get() + 1);
            Ok((count.get(), HOUR))
        };
        let first = kept.get(deadline(), None, fetch()).await.ok().map(|held| held.number);
        for _ in 0..3 {
            assert!(kept.get(deadline(), first, fetch()).await.is_ok_and(|held| held.value == 2));
        }
        assert_eq!(count.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn life_of_any_length_is_taken() {
        for (lifetime, lasts) in [(Duration::MAX, true), (Duration::ZERO, false)] {
            let kept = ShortLived::new();
            let fetch = || async move { Ok(((), lifetime)) };
            assert!(kept.get(deadline(), None, fetch()).await.is_ok());
            assert!(kept.get(deadline(), None, fetch()).await.is_ok_and(|held| held.fresh != lasts));
            tokio::time::advance(MOST).await;
            assert!(kept.get(deadline(), None, fetch()).await.is_ok_and(|held| held.fresh));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_one_costs_no_more_than_the_deadline() {
        let kept = ShortLived::<u32>::new();
        let all = join_all((0..3).map(|_| kept.get(deadline(), None, std::future::pending()))).await;
        assert!(all.into_iter().all(|held| held.err() == Some(Cause::Timeout.verdict())));
    }
}
