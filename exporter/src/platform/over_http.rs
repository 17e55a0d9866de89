//! Platforms that take a batch in one HTTP request, with a credential that lasts: most of them.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{Assurance, Platform};
use crate::answer::{Answer, Outcome};
use crate::destination::{Limits, Request, Routed, Shaped};
use crate::http::Sender;

/// A platform with one HTTP request for a batch, and a credential that lasts.
pub struct OverHttp<S, R> {
    /// Encodes an event.
    pub shape: S,
    /// Makes the request for a batch.
    pub request: R,
    /// Judges the answer.
    pub outcome: fn(&Answer<'_>, usize) -> Outcome,
    /// Of one request.
    pub limits: Limits,
    /// Of an acknowledgement.
    pub assurance: Assurance,
    /// How old an event may be, where the platform takes no older one.
    pub max_give_up_after: Option<Duration>,
    /// The client.
    pub sender: Sender,
}

impl<S, R> Platform for OverHttp<S, R>
where
    S: Fn(&Routed<'_>) -> Shaped + Send + Sync,
    R: Fn(&[Shaped], Timestamp) -> Request + Send + Sync,
{
    fn shape(&self, event: &Routed<'_>) -> Shaped {
        (self.shape)(event)
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn assurance(&self) -> Assurance {
        self.assurance
    }

    fn max_give_up_after(&self) -> Option<Duration> {
        self.max_give_up_after
    }

    fn send<'a>(&'a self, events: &'a [Shaped], now: Timestamp, timeout: Duration) -> BoxFuture<'a, Outcome> {
        async move {
            match self.sender.send((self.request)(events, now), timeout).await {
                Ok(reply) => (self.outcome)(&reply.answer(), events.len()),
                Err(cause) => Outcome::All(cause.verdict()),
            }
        }
        .boxed()
    }
}
