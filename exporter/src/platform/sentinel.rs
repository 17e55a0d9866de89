//! Microsoft Sentinel: a token of Entra ID, and the Logs Ingestion API with it.
//!
//! Promises: the client secret goes to the authority and nowhere else, and no client certificate is shown there.

use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::StatusCode;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::Instant;

use super::short_lived::{ShortLived, service_account_token};
use super::{Assurance, Platform};
use crate::answer::{Code, Outcome, Verdict};
use crate::cause::Cause;
use crate::destination::sentinel::{Config, Credential, answer, request, shape, token};
use crate::destination::{Limits, Routed, Shaped};
use crate::http::{Reply, Sender};

/// How the application proves itself.
#[derive(Debug)]
pub enum Proof {
    /// The client secret.
    Secret(SecretString),
    /// The file with the token of the service account (`AZURE_FEDERATED_TOKEN_FILE`).
    File(PathBuf),
}

/// A data collection rule.
pub struct Sentinel {
    config: Config,
    proof: Proof,
    authority: Sender,
    ingestion: Sender,
    token: ShortLived<Credential>,
}

impl Sentinel {
    /// With a client for the authority and one for the ingestion.
    #[must_use]
    pub fn new(config: Config, proof: Proof, authority: Sender, ingestion: Sender) -> Self {
        Self { config, proof, authority, ingestion, token: ShortLived::new() }
    }

    async fn fetch(&self, deadline: Instant) -> Result<(Credential, Duration), Verdict> {
        let reply = match &self.proof {
            Proof::Secret(secret) => self.ask(secret, deadline).await,
            Proof::File(path) => self.ask(&service_account_token(path).await?, deadline).await,
        };
        let reply = reply.map_err(Cause::verdict)?;
        let token::Token { secret, lifetime } = token::answer(&reply.answer())?;
        let unusable = |_| Verdict::Config { code: Code::fixed("token-no-response"), field: "authority" };
        Ok((Credential::new(&secret).map_err(unusable)?, lifetime))
    }

    async fn ask(&self, proof: &SecretString, deadline: Instant) -> Result<Reply, Cause> {
        self.authority.send(token::request(&self.config, proof), deadline - Instant::now()).await
    }

    async fn deliver(&self, events: &[Shaped], timeout: Duration) -> Outcome {
        let deadline = Instant::now() + timeout;
        let fetch = || self.fetch(deadline);
        let send = |credential: Credential| async move {
            let request = request::request(&self.config, &credential, events);
            self.ingestion.send(request, deadline - Instant::now()).await
        };
        let is_stale = |reply: &Reply| reply.status == StatusCode::UNAUTHORIZED;
        match self.token.send(deadline, fetch, send, is_stale).await {
            Ok(reply) => answer::outcome(&reply.answer(), events.len()),
            Err(verdict) => Outcome::All(verdict),
        }
    }
}

impl Platform for Sentinel {
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
