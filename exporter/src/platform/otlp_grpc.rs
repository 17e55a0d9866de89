//! OTLP over gRPC.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{Assurance, Platform};
use crate::answer::{Code, Outcome, Verdict};
use crate::destination::otlp::answer::{Grpc, grpc};
use crate::destination::otlp::{Config, Credential, request, shape};
use crate::destination::{Limits, Routed, Shaped};
use crate::grpc::{Caller, Reply};
use crate::status;

/// A server of OTLP.
pub struct OtlpGrpc {
    config: Config,
    credential: Option<Credential>,
    caller: Caller,
}

impl OtlpGrpc {
    /// With the configuration of a destination whose protocol is gRPC.
    #[must_use]
    pub fn new(config: Config, credential: Option<Credential>, caller: Caller) -> Self {
        Self { config, credential, caller }
    }

    async fn deliver(&self, events: &[Shaped], timeout: Duration) -> Outcome {
        let request = request::request(&self.config, self.credential.as_ref(), events);
        let no_response = || Verdict::Config { code: Code::fixed("otlp-no-response"), field: "url" };
        match self.caller.call(request, timeout).await {
            Ok(Reply::Call { status: 0, message: None, .. }) => Outcome::All(no_response()),
            Ok(Reply::Call { status, details, message }) => {
                let message = message.unwrap_or_default();
                grpc(Grpc { status, details: details.as_deref(), message: &message }, events.len())
            }
            Ok(Reply::Other(reply)) if reply.status.is_success() => Outcome::All(no_response()),
            Ok(Reply::Other(reply)) => Outcome::All(status::verdict(&reply.answer(), events.len(), "url")),
            Err(cause) => Outcome::All(cause.verdict()),
        }
    }
}

impl Platform for OtlpGrpc {
    fn shape(&self, event: &Routed<'_>) -> Shaped {
        shape::shape(event)
    }

    fn limits(&self) -> Limits {
        request::LIMITS
    }

    fn assurance(&self) -> Assurance {
        Assurance::Accepted
    }

    fn send<'a>(&'a self, events: &'a [Shaped], _now: Timestamp, timeout: Duration) -> BoxFuture<'a, Outcome> {
        self.deliver(events, timeout).boxed()
    }
}
