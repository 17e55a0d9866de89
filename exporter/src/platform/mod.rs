//! A destination that is set up: shapes events, sends them, and says what became of them.
//!
//! Promises: the only place that joins the pure folders of [`crate::destination`] with clients and secrets; whatever goes
//! wrong on the way is an [`Outcome`]. Must never log an event, a secret, or text of an answer.

use std::io::Write as _;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::answer::{Answer, Outcome};
use crate::destination::{Limits, Request, Routed, Shaped, stdout, syslog};
use crate::http::Sender;

/// What an acknowledgement of a platform is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assurance {
    /// It was given to the network, or to whoever reads the output.
    Sent,
    /// The platform said that it took it.
    Accepted,
    /// The platform said that it can be searched.
    Stored,
}

impl Assurance {
    /// As it stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "Sent",
            Self::Accepted => "Accepted",
            Self::Stored => "Stored",
        }
    }
}

/// One destination.
pub trait Platform: Send + Sync {
    /// Encodes an event.
    fn shape(&self, event: &Routed<'_>) -> Shaped;

    /// How much one request holds at most, whatever the user asks for.
    fn limits(&self) -> Limits;

    /// What its acknowledgement is worth.
    fn assurance(&self) -> Assurance;

    /// Makes one attempt, of events of one group that keep the limits.
    fn send<'a>(&'a self, events: &'a [Shaped], now: Timestamp, timeout: Duration) -> BoxFuture<'a, Outcome>;

    /// To be called every few seconds while nothing is sent: a connection may have to be looked after.
    fn idle(&self, _timeout: Duration) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

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

/// Syslog, by one connection.
pub struct Syslog {
    config: syslog::config::Config,
    sender: Mutex<syslog::send::Sender>,
}

impl Syslog {
    /// With the sender of the same configuration.
    #[must_use]
    pub fn new(config: syslog::config::Config, sender: syslog::send::Sender) -> Self {
        Self { config, sender: Mutex::new(sender) }
    }
}

impl Platform for Syslog {
    fn shape(&self, event: &Routed<'_>) -> Shaped {
        syslog::shape::shape(&self.config, event)
    }

    fn limits(&self) -> Limits {
        syslog::request::LIMITS
    }

    fn assurance(&self) -> Assurance {
        Assurance::Sent
    }

    fn send<'a>(&'a self, events: &'a [Shaped], _now: Timestamp, timeout: Duration) -> BoxFuture<'a, Outcome> {
        async move { syslog::answer::outcome(self.sender.lock().await.send(events, timeout).await) }.boxed()
    }

    fn idle(&self, timeout: Duration) -> BoxFuture<'_, ()> {
        async move {
            if let Err(cause) = self.sender.lock().await.check(timeout).await {
                tracing::debug!(%cause, "the connection was lost while nothing was sent");
            }
        }
        .boxed()
    }
}

/// Lines on standard output, for log collectors.
pub struct Stdout;

impl Platform for Stdout {
    fn shape(&self, event: &Routed<'_>) -> Shaped {
        stdout::shape::shape(event)
    }

    fn limits(&self) -> Limits {
        stdout::request::LIMITS
    }

    fn assurance(&self) -> Assurance {
        Assurance::Sent
    }

    fn send<'a>(&'a self, events: &'a [Shaped], _now: Timestamp, _timeout: Duration) -> BoxFuture<'a, Outcome> {
        let lines = stdout::request::lines(events);
        // A collector that does not read must stop this destination and no other.
        let write = tokio::task::spawn_blocking(move || {
            let mut out = std::io::stdout().lock();
            out.write_all(&lines).and_then(|()| out.flush())
        });
        async move {
            let written = write.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            stdout::answer::outcome(&written)
        }
        .boxed()
    }
}
