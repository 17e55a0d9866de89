//! Sessions that were ended, known to every replica through a stream in the pool's Redis.
//!
//! Promises: an end is in force at once where it was asked for, and elsewhere as soon as Redis tells; ends that Redis was
//! not there for are told when it is back. Must never make a request wait for Redis.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::seal::MAX_AGE_SECONDS;
use super::store::close;
use crate::audit::Target;
use crate::gateway::Gateway;

/// The random part of a session id.
type Id = [u8; 16];

/// Ends that are remembered, here and in Redis; beyond them the oldest is forgotten. 40 bytes each.
const MAX_ENDED: usize = 100_000;
/// The field of an entry.
const FIELD: &str = "id";
/// How long one read waits for news. A dead connection is noticed after it.
const BLOCK: Duration = Duration::from_secs(5);
/// For a connection and its handshake, and for a command beside what it blocks.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Between two conversations with a Redis that fails.
const PAUSE: Duration = Duration::from_secs(1);

/// The ended sessions.
#[derive(Default)]
pub struct Ended {
    known: Mutex<Known>,
    untold: Mutex<VecDeque<Id>>,
    news: Notify,
}

#[derive(Default)]
struct Known {
    ids: HashSet<Id>,
    /// In the order in which they came, with the second from which their tickets are too old anyway.
    order: VecDeque<(u64, Id)>,
}

impl Ended {
    /// Whether a session was ended.
    #[must_use]
    pub fn contains(&self, id: &Id) -> bool {
        locked(&self.known).ids.contains(id)
    }

    /// Ends a session here, and tells the others.
    pub(super) fn end(&self, id: Id, now_seconds: u64) {
        if self.learn(id, now_seconds) {
            let mut untold = locked(&self.untold);
            if untold.len() >= MAX_ENDED {
                untold.pop_front();
            }
            untold.push_back(id);
            self.news.notify_one();
        }
    }

    /// Whether it is news.
    fn learn(&self, id: Id, now_seconds: u64) -> bool {
        let mut known = locked(&self.known);
        if !known.ids.insert(id) {
            return false;
        }
        known.order.push_back((now_seconds.saturating_add(MAX_AGE_SECONDS), id));
        while let Some((until, oldest)) = known.order.front().copied()
            && (until < now_seconds || known.order.len() > MAX_ENDED)
        {
            known.order.pop_front();
            known.ids.remove(&oldest);
        }
        true
    }
}

/// Tells the other replicas of ends, and learns of theirs, until told to stop.
pub(crate) async fn share(
    gateway: Arc<Gateway>,
    pool_id: String,
    mut redis: watch::Receiver<Arc<Target>>,
    stop: CancellationToken,
) {
    // One slot of a cluster for what belongs to a pool.
    let key = format!("session:{{{pool_id}}}:ended");
    let mut last = "0-0".to_owned();
    loop {
        let target = redis.borrow_and_update().clone();
        tokio::select! {
            () = stop.cancelled() => return,
            changed = redis.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            Err(error) = converse(&gateway, &target, &key, &mut last) => {
                // The audit trail, which needs the same Redis more, is louder.
                tracing::debug!(%error, "ended sessions are not shared");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Ends with an error only.
async fn converse(gateway: &Gateway, target: &Target, key: &str, last: &mut String) -> Result<(), RedisError> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(TIMEOUT)).set_response_timeout(Some(BLOCK + TIMEOUT));
    let connect = || target.client.get_multiplexed_async_connection_with_config(&config);
    // A read that blocks would block the other command too.
    let (telling, learning) = tokio::try_join!(connect(), connect())?;
    tokio::try_join!(tell(&gateway.sessions.ended, telling, key), learn(gateway, learning, key, last))?;
    Ok(())
}

async fn tell(ended: &Ended, mut redis: MultiplexedConnection, key: &str) -> Result<(), RedisError> {
    loop {
        while let Some(id) = { locked(&ended.untold).front().copied() } {
            redis::pipe()
                .cmd("XADD")
                .arg(key)
                .arg(&["MAXLEN", "~"])
                .arg(MAX_ENDED)
                .arg(&["*", FIELD, &hex::encode(id)])
                .ignore()
                .cmd("EXPIRE")
                .arg(key)
                .arg(MAX_AGE_SECONDS)
                .ignore()
                .query_async::<()>(&mut redis)
                .await?;
            locked(&ended.untold).pop_front();
        }
        ended.news.notified().await;
    }
}

async fn learn(
    gateway: &Gateway,
    mut redis: MultiplexedConnection,
    key: &str,
    last: &mut String,
) -> Result<(), RedisError> {
    loop {
        let mut read = redis::cmd("XREAD");
        read.arg(&["COUNT", "1000", "BLOCK"]).arg(BLOCK.as_millis() as u64).arg("STREAMS").arg(key).arg(&*last);
        let reply: Option<StreamReadReply> = read.query_async(&mut redis).await?;
        for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids) {
            let mut id = Id::default();
            let text: Option<String> = entry.get(FIELD);
            if text.is_some_and(|text| hex::decode_to_slice(text, &mut id).is_ok()) {
                let now = crate::endpoint::legacy::now_seconds();
                gateway.sessions.ended.learn(id, now);
                if let Some(session) = gateway.sessions.take(&id) {
                    close(&[session]).await;
                }
            }
            *last = entry.id;
        }
    }
}

/// A poisoned lock only says that a thread died elsewhere: what is behind these is whole at any time.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> Id {
        (n as u128).to_be_bytes()
    }

    #[test]
    fn ended_sessions_are_remembered_until_their_tickets_are_too_old() {
        let ended = Ended::default();
        ended.end(id(1), 1_000);
        assert!(ended.contains(&id(1)) && !ended.contains(&id(2)));
        ended.end(id(2), 1_000 + MAX_AGE_SECONDS + 1);
        assert!(!ended.contains(&id(1)) && ended.contains(&id(2)));
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let ended = Ended::default();
        (0..=MAX_ENDED).for_each(|n| ended.end(id(n), 0));
        assert!(!ended.contains(&id(0)) && ended.contains(&id(1)) && ended.contains(&id(MAX_ENDED)));
        assert_eq!(locked(&ended.untold).len(), MAX_ENDED);
    }

    #[test]
    fn an_end_is_told_once() {
        let ended = Ended::default();
        ended.end(id(1), 0);
        ended.end(id(1), 1);
        assert_eq!(locked(&ended.untold).len(), 1);
    }
}
