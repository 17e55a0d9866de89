//! Syslog, by one connection: what is sent at the same time waits for its turn.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::{Assurance, Platform};
use crate::answer::Outcome;
use crate::destination::{Limits, Routed, Shaped, syslog};

/// A syslog receiver.
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
