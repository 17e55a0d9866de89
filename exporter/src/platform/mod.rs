//! A destination that is set up: shapes events, sends them, and says what became of them.
//!
//! Promises: the only place that joins the pure folders of [`crate::destination`] with clients and secrets; whatever goes
//! wrong on the way is an [`Outcome`]. Must never log an event, a secret, or text of an answer.

mod cookies;
mod event_bridge;
mod otlp_grpc;
mod over_http;
mod sentinel;
mod short_lived;
mod splunk;
mod stdout;
mod syslog;

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::answer::Outcome;
use crate::destination::{Limits, Routed, Shaped};

pub use event_bridge::{EventBridge, Keys, Role};
pub use otlp_grpc::OtlpGrpc;
pub use over_http::OverHttp;
pub use sentinel::{Proof, Sentinel};
pub use splunk::Splunk;
pub use stdout::Stdout;
pub use syslog::Syslog;

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

    /// How old an event may be, where the platform takes no older one: asked before every attempt.
    fn max_give_up_after(&self) -> Option<Duration> {
        None
    }

    /// To be called every few seconds while nothing is sent: a connection may have to be looked after.
    fn idle(&self, _timeout: Duration) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}
