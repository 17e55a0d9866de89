//! Splunk with indexer acknowledgement: a batch is delivered when the indexers have it (Splunk, "About HTTP Event
//! Collector Indexer Acknowledgment").
//!
//! Promises: an acknowledgement counts for the one batch that its id was given for. An id means something in one
//! conversation alone: on one channel, with one collector. Where a collector may have been exchanged (a request failed on
//! the way; an id is given twice), the next batches go on a new channel, and what an id can no longer stand for is sent
//! again. Behind a load balancer the collectors need session affinity; its cookies are kept for the conversation.
//!
//! All batches that wait share one poll; whoever's turn comes first asks for all. No task runs in the background.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::cookies::Cookies;
use super::{Assurance, Platform};
use crate::answer::{Code, Outcome, Verdict};
use crate::cause::Cause;
use crate::destination::splunk::acknowledgement::{self, POLL_EVERY, RESEND_AFTER};
use crate::destination::splunk::{Channel, Config, Credential, answer, request, shape};
use crate::destination::{Limits, Request, Routed, Shaped};
use crate::http::{Reply, Sender};

/// Until the first poll, and between polls that found something: a batch that waits takes memory and one of 32 places.
/// From there to [`POLL_EVERY`] while nothing is found.
const POLL_SOON: Duration = Duration::from_secs(1);
/// How many ids of a conversation are remembered; they count up.
const REMEMBERED: usize = 1_024;

/// A collector whose indexers acknowledge.
pub struct Splunk {
    config: Config,
    credential: Credential,
    sender: Sender,
    conversation: Mutex<Arc<Conversation>>,
}

/// One channel with one collector.
struct Conversation {
    channel: Channel,
    cookies: Cookies,
    waiting: Mutex<Waiting>,
    /// Held by who asks.
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    batches: BTreeMap<u64, oneshot::Sender<Verdict>>,
    given: BTreeSet<u64>,
    next_poll: Instant,
    pause: Duration,
}

impl Splunk {
    /// A destination that waits for acknowledgements.
    #[must_use]
    pub fn new(config: Config, credential: Credential, sender: Sender) -> Self {
        Self { config, credential, sender, conversation: Mutex::new(Arc::new(Conversation::new())) }
    }

    async fn deliver(&self, events: &[Shaped], timeout: Duration) -> Outcome {
        let conversation = self.conversation.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let request = request::request(&self.config, &self.credential, Some(&conversation.channel), events);
        let reply = match self.exchange(&conversation, request, timeout).await {
            Ok(reply) => reply,
            Err(cause) => return Outcome::All(cause.verdict()),
        };
        match answer::outcome(&reply.answer(), events.len()) {
            Outcome::All(Verdict::Delivered) => {}
            refused => return refused,
        }
        let Some(id) = acknowledgement::id(&reply.answer()) else {
            return Outcome::All(Verdict::Config { code: Code::fixed("hec-no-ack-id"), field: "acknowledgement" });
        };
        Outcome::All(match conversation.expect(id) {
            Some(told) => self.acknowledged(&conversation, told, timeout).await,
            None => {
                self.leave(&conversation);
                retry("hec-ack-id-twice")
            }
        })
    }

    /// Waits for a batch's verdict, and asks for it whenever it is time and nobody else does.
    async fn acknowledged(
        &self,
        conversation: &Conversation,
        mut told: oneshot::Receiver<Verdict>,
        timeout: Duration,
    ) -> Verdict {
        let give_up = Instant::now() + RESEND_AFTER;
        loop {
            let next = conversation.waiting().next_poll;
            tokio::select! {
                biased;
                verdict = &mut told => return verdict.unwrap_or_else(|_| retry("hec-not-indexed")),
                () = sleep_until(give_up) => return retry("hec-not-indexed"),
                () = sleep_until(next) => self.poll(conversation, timeout.min(POLL_EVERY)).await,
            }
        }
    }

    async fn poll(&self, conversation: &Conversation, timeout: Duration) {
        let _turn = conversation.turn.lock().await;
        let Some(ids) = conversation.due() else { return };
        let request = acknowledgement::request(&self.config, &self.credential, &conversation.channel, &ids);
        let Some(request) = request else { return conversation.tell_all(&retry("hec-not-indexed")) };
        let Ok(reply) = self.exchange(conversation, request, timeout).await else {
            return conversation.tell(&[]);
        };
        match acknowledgement::indexed(&reply.answer()) {
            Some(indexed) => conversation.tell(&indexed),
            None => match answer::outcome(&reply.answer(), 1) {
                // Without an end to it, every batch would be sent again every two minutes.
                Outcome::All(verdict @ (Verdict::Auth { .. } | Verdict::Config { .. })) => {
                    conversation.tell_all(&verdict);
                }
                _ => conversation.tell(&[]),
            },
        }
    }

    /// Sends within a conversation, which ends for later batches if there is no answer.
    async fn exchange(
        &self,
        conversation: &Conversation,
        mut request: Request,
        timeout: Duration,
    ) -> Result<Reply, Cause> {
        conversation.cookies.put(&mut request.headers);
        let sent = self.sender.send(request, timeout).await;
        match &sent {
            Ok(reply) => conversation.cookies.take(&reply.headers),
            Err(_) => self.leave(conversation),
        }
        sent
    }

    fn leave(&self, conversation: &Conversation) {
        let mut current = self.conversation.lock().unwrap_or_else(PoisonError::into_inner);
        if current.channel == conversation.channel {
            *current = Arc::new(Conversation::new());
        }
    }
}

const fn retry(code: &'static str) -> Verdict {
    Verdict::Retry { code: Code::fixed(code), after: None }
}

impl Conversation {
    fn new() -> Self {
        let waiting =
            Waiting { batches: BTreeMap::new(), given: BTreeSet::new(), next_poll: Instant::now(), pause: POLL_SOON };
        Self {
            channel: Channel::new(rand::random()),
            cookies: Cookies::default(),
            waiting: Mutex::new(waiting),
            turn: tokio::sync::Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an id from now on. `None` for one that was given before: then no id of this conversation tells any more
    /// which batch it is of, and all that wait are to be sent again.
    fn expect(&self, id: u64) -> Option<oneshot::Receiver<Verdict>> {
        let mut waiting = self.waiting();
        let forgotten = waiting.given.len() >= REMEMBERED && waiting.given.first().is_some_and(|first| id < *first);
        if forgotten || !waiting.given.insert(id) {
            drop(waiting);
            self.tell_all(&retry("hec-ack-id-twice"));
            return None;
        }
        if waiting.given.len() > REMEMBERED {
            waiting.given.pop_first();
        }
        if waiting.batches.is_empty() {
            waiting.pause = POLL_SOON;
            waiting.next_poll = Instant::now() + POLL_SOON;
        }
        let (tell, told) = oneshot::channel();
        waiting.batches.insert(id, tell);
        Some(told)
    }

    /// The ids to ask for, if it is time.
    fn due(&self) -> Option<Vec<u64>> {
        let mut waiting = self.waiting();
        // Whoever gave up on an id does not want to know any more.
        waiting.batches.retain(|_, tell| !tell.is_closed());
        let due = !waiting.batches.is_empty() && waiting.next_poll <= Instant::now();
        due.then(|| waiting.batches.keys().copied().collect())
    }

    /// After a poll that found these.
    fn tell(&self, indexed: &[u64]) {
        let mut waiting = self.waiting();
        waiting.pause = if indexed.is_empty() { (waiting.pause * 2).min(POLL_EVERY) } else { POLL_SOON };
        waiting.next_poll = Instant::now() + waiting.pause;
        for id in indexed {
            if let Some(tell) = waiting.batches.remove(id) {
                // Nobody there: the worker was stopped.
                let _ = tell.send(Verdict::Delivered);
            }
        }
    }

    fn tell_all(&self, verdict: &Verdict) {
        for (_, tell) in std::mem::take(&mut self.waiting().batches) {
            let _ = tell.send(verdict.clone());
        }
    }
}

impl Platform for Splunk {
    fn shape(&self, event: &Routed<'_>) -> Shaped {
        shape::shape(&self.config, event)
    }

    fn limits(&self) -> Limits {
        request::LIMITS
    }

    fn assurance(&self) -> Assurance {
        Assurance::Stored
    }

    fn send<'a>(&'a self, events: &'a [Shaped], _now: Timestamp, timeout: Duration) -> BoxFuture<'a, Outcome> {
        self.deliver(events, timeout).boxed()
    }
}
