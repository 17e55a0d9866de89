//! What is known of a server: which revisions it speaks, what it offers, why it fails.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use jiff::Timestamp;
use serde_json::Value;

use super::catalogue::{Catalogue, ListKind};
use super::fault::Fault;
use crate::mcp::Era;

/// Whether a server can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Pending,
    Ready,
    Failed,
}

impl State {
    /// The word on the admin port.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Ready => "Ready",
            Self::Failed => "Failed",
        }
    }
}

/// What one probe found out.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// Whether the server can be called.
    pub state: State,
    /// The stable word for why.
    pub reason: &'static str,
    /// One sentence; of a failure, with a remedy.
    pub message: String,
    /// What it offers to legacy clients; kept from the last success while it fails.
    pub legacy: Option<Arc<Offer>>,
    /// What it offers to modern clients; kept from the last success while it fails.
    pub modern: Option<Arc<Offer>>,
    /// When the last probe ended.
    pub probed: Option<Instant>,
    /// The same, for people.
    pub last_probe: Option<Timestamp>,
    /// When a probe last succeeded.
    pub last_success: Option<Timestamp>,
}

/// What a server offers in one era.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The revision that was agreed on.
    pub revision: String,
    /// `capabilities`.
    pub capabilities: Value,
    /// `serverInfo`.
    pub server_info: Value,
    /// `instructions`.
    pub instructions: Option<String>,
    /// The probe's own session; `None` if the server keeps none.
    pub session: Option<HeaderValue>,
    /// Tools, prompts, resources and templates.
    pub catalogue: Catalogue,
}

impl Offer {
    /// Whether the server says that it has a capability, such as `tools`.
    #[must_use]
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.get(capability).is_some_and(Value::is_object)
    }
}

/// Digests of what callers of each era are offered. Absent: nothing, because the server does not speak the era or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered([Option<[[u8; 32]; ListKind::ALL.len()]>; 2]);

impl Offered {
    /// Of a handshake.
    #[must_use]
    pub fn of(handshake: &Handshake) -> Self {
        Self([Era::Legacy, Era::Modern].map(|era| {
            let offer = handshake.offer(era).filter(|_| !handshake.is_failed())?;
            Some(ListKind::ALL.map(|kind| offer.catalogue.fingerprint(kind)))
        }))
    }

    /// The digest of a list.
    #[must_use]
    pub fn list(&self, era: Era, kind: ListKind) -> Option<&[u8; 32]> {
        let lists = match era {
            Era::Legacy => &self.0[0],
            Era::Modern => &self.0[1],
        };
        lists.as_ref().map(|lists| &lists[kind as usize])
    }
}

impl Handshake {
    /// Not probed yet.
    #[must_use]
    pub fn pending() -> Self {
        Self {
            state: State::Pending,
            reason: "Connecting",
            message: "the first handshake with the server is under way".to_owned(),
            legacy: None,
            modern: None,
            probed: None,
            last_probe: None,
            last_success: None,
        }
    }

    /// Failed; what was known before is kept.
    #[must_use]
    pub fn failed(fault: &Fault, before: Option<&Self>) -> Self {
        Self {
            state: State::Failed,
            reason: fault.reason.as_str(),
            message: fault.message.clone(),
            legacy: before.and_then(|b| b.legacy.clone()),
            modern: before.and_then(|b| b.modern.clone()),
            probed: Some(Instant::now()),
            last_probe: Some(Timestamp::now()),
            last_success: before.and_then(|b| b.last_success),
        }
    }

    /// Succeeded, in at least one era.
    #[must_use]
    pub fn ready(legacy: Option<Offer>, modern: Option<Offer>) -> Self {
        let now = Timestamp::now();
        Self {
            state: State::Ready,
            reason: "Connected",
            message: "the handshake with the server succeeded".to_owned(),
            legacy: legacy.map(Arc::new),
            modern: modern.map(Arc::new),
            probed: Some(Instant::now()),
            last_probe: Some(now),
            last_success: Some(now),
        }
    }

    /// Whether it is known to fail.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// What it offers in an era.
    #[must_use]
    pub fn offer(&self, era: Era) -> Option<&Arc<Offer>> {
        match era {
            Era::Legacy => self.legacy.as_ref(),
            Era::Modern => self.modern.as_ref(),
        }
    }

    /// Whether it is known not to speak an era: it was probed, and speaks the other one only.
    #[must_use]
    pub fn lacks(&self, era: Era) -> bool {
        self.offer(era).is_none() && (self.legacy.is_some() || self.modern.is_some())
    }

    /// The revisions that were agreed on, oldest first.
    #[must_use]
    pub fn revisions(&self) -> Vec<&str> {
        [&self.legacy, &self.modern].into_iter().flatten().map(|offer| offer.revision.as_str()).collect()
    }

    /// The newest offer.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Offer>> {
        self.modern.as_ref().or(self.legacy.as_ref())
    }
}
