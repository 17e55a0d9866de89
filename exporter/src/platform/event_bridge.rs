//! Amazon EventBridge, with keys that last or a session of a role.
//!
//! Promises: a role's session is asked for with the token of the Pod's service account (IRSA), which is read anew each
//! time. Must never ask the node's metadata service or the agent of EKS Pod Identity for credentials: both have
//! addresses that are refused, and a Pod without IRSA needs keys.

use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::Instant;

use super::short_lived::{ShortLived, service_account_token};
use super::{Assurance, Platform};
use crate::answer::{Code, Outcome, Verdict};
use crate::cause::Cause;
use crate::destination::event_bridge::{Config, Credentials, answer, request, shape, sts};
use crate::destination::{Limits, Routed, Shaped};
use crate::http::{Reply, Sender};

/// Who signs.
pub enum Keys {
    /// Keys of an IAM user, or a session that somebody else renews.
    Fixed(Credentials),
    /// A role that the Pod's service account may assume.
    Role(Box<Role>),
}

/// A role, and how its sessions are asked for.
pub struct Role {
    region: String,
    arn: String,
    token_file: PathBuf,
    /// In the audit trail of the account.
    session_name: String,
    sender: Sender,
    session: ShortLived<Credentials>,
}

impl Role {
    /// `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`, with a client for the STS of `region`.
    #[must_use]
    pub fn new(region: String, arn: String, token_file: PathBuf, session_name: String, sender: Sender) -> Self {
        Self { region, arn, token_file, session_name, sender, session: ShortLived::new() }
    }

    async fn fetch(&self, deadline: Instant) -> Result<(Credentials, Duration), Verdict> {
        let token = service_account_token(&self.token_file).await?;
        let request = sts::request(&self.region, &self.arn, &self.session_name, &token)
            .map_err(|invalid| Verdict::Auth { code: Code::fixed(invalid.field) })?;
        let asked = Timestamp::now();
        let reply = self.sender.send(request, deadline - Instant::now()).await.map_err(Cause::verdict)?;
        let sts::Session { credentials, expires } = sts::session(&reply.answer())?;
        Ok((credentials, Duration::try_from(expires.duration_since(asked)).unwrap_or_default()))
    }
}

/// An event bus.
pub struct EventBridge {
    config: Config,
    keys: Keys,
    sender: Sender,
}

impl EventBridge {
    /// With a client for the bus.
    #[must_use]
    pub fn new(config: Config, keys: Keys, sender: Sender) -> Self {
        Self { config, keys, sender }
    }

    async fn deliver(&self, events: &[Shaped], now: Timestamp, timeout: Duration) -> Outcome {
        let deadline = Instant::now() + timeout;
        let send = |credentials: Credentials| async move {
            let request = request::request(&self.config, &credentials, events, now);
            self.sender.send(request, deadline - Instant::now()).await
        };
        let reply = match &self.keys {
            Keys::Fixed(credentials) => send(credentials.clone()).await.map_err(Cause::verdict),
            Keys::Role(role) => role.session.send(deadline, || role.fetch(deadline), send, has_expired).await,
        };
        match reply {
            Ok(reply) => answer::outcome(&reply.answer(), events.len()),
            Err(verdict) => Outcome::All(verdict),
        }
    }
}

fn has_expired(reply: &Reply) -> bool {
    let expired = Verdict::Auth { code: Code::fixed("ExpiredTokenException") };
    answer::outcome(&reply.answer(), 1) == Outcome::All(expired)
}

impl Platform for EventBridge {
    fn shape(&self, event: &Routed<'_>) -> Shaped {
        shape::shape(&self.config, event)
    }

    fn limits(&self) -> Limits {
        request::LIMITS
    }

    fn assurance(&self) -> Assurance {
        Assurance::Accepted
    }

    fn send<'a>(&'a self, events: &'a [Shaped], now: Timestamp, timeout: Duration) -> BoxFuture<'a, Outcome> {
        self.deliver(events, now, timeout).boxed()
    }
}
