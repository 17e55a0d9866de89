//! The probe of a server: one task for each, the only writer of its handshake.
//!
//! Promises: at most one probe at a time; every 30 s while it succeeds, from 1 s up to 30 s apart while it
//! fails, at once when asked. Each era is judged by itself. Must never end a call or a session of a caller.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::catalogue::{Catalogue, ListKind};
use super::exchange::{Speech, client_info, fetch_list};
use super::fault::{Fault, FaultReason};
use super::handshake::{Handshake, Offer, State};
use super::server::Server;
use super::session;
use crate::mcp::{Era, MODERN, meta};

const INTERVAL: Duration = Duration::from_secs(30);
const BACKOFF: std::ops::Range<Duration> = Duration::from_secs(1)..Duration::from_secs(30);
/// A server that speaks one era is asked for the other one only this often (in probes): each try is an error
/// in its log.
const OTHER_ERA_EVERY: u32 = 10;
/// Longest text of a server on how to use it; the rest is cut off. Callers get those of all servers at once.
const MAX_INSTRUCTIONS_CHARS: usize = 16_384;
/// Longest that one request of a probe may take, even if callers' may take longer.
const MAX_REQUEST: Duration = Duration::from_secs(10);

/// What the task does with what it finds.
pub trait Observer: Send + Sync + 'static {
    /// After each probe.
    fn probed(&self, server: &Server, before: &Handshake, now: &Handshake, fault: Option<&Fault>);
}

/// Probes until cancelled.
pub async fn run(server: Arc<Server>, cancel: CancellationToken, observer: Arc<dyn Observer>) {
    if server.config_fault().is_some() {
        // Only another configuration can change it.
        cancel.cancelled().await;
        return;
    }
    let mut probe = Probe::default();
    loop {
        let before = server.handshake();
        let outcome = tokio::select! {
            () = cancel.cancelled() => break,
            outcome = probe.once(&server) => outcome,
        };
        let (now, fault) = match outcome {
            Ok((legacy, modern)) => (probe.complete(Handshake::ready(legacy, modern), &before), None),
            Err(fault) => (Handshake::failed(&fault, Some(&before)), Some(fault)),
        };
        observer.probed(&server, &before, &now, fault.as_ref());
        let pause = probe.pause(now.state);
        server.set_handshake(now);
        tokio::select! {
            () = cancel.cancelled() => break,
            () = server.probe_wanted() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    if let Some(speech) = probe.session {
        session::close(&server, &speech).await;
    }
}

#[derive(Default)]
struct Probe {
    /// Kept from probe to probe, so that a server does not collect sessions.
    session: Option<Speech>,
    /// What the server said when it was opened.
    initialized: Option<session::InitializeResult>,
    count: u32,
    speaks: Vec<Era>,
    failures: u32,
    /// One era answered, and the other one's request was lost on its way or, for the first time, not understood: that
    /// says nothing yet of what is spoken.
    unsure: bool,
    /// An era that was spoken was not understood the last time.
    doubted: bool,
}

impl Probe {
    async fn once(&mut self, server: &Server) -> Result<(Option<Offer>, Option<Offer>), Fault> {
        let limit = server.timeout.min(MAX_REQUEST);
        let both = self.unsure || self.speaks.is_empty() || self.count.is_multiple_of(OTHER_ERA_EVERY);
        self.count = self.count.wrapping_add(1);
        let wants = |era| both || self.speaks.contains(&era);
        let (try_legacy, try_modern) = (wants(Era::Legacy), wants(Era::Modern));
        let modern = async {
            match try_modern {
                true => Some(modern(server, limit).await),
                false => None,
            }
        };
        let legacy = async {
            match try_legacy {
                true => Some(self.legacy(server, limit).await),
                false => None,
            }
        };
        let (legacy, modern) = tokio::join!(legacy, modern);
        let one_is_spoken = matches!(legacy, Some(Ok(_))) || matches!(modern, Some(Ok(_)));
        let faults = [
            (Era::Legacy, legacy.as_ref().and_then(|r| r.as_ref().err())),
            (Era::Modern, modern.as_ref().and_then(|r| r.as_ref().err())),
        ];
        let lost = faults.iter().any(|(_, fault)| fault.is_some_and(Fault::says_nothing_of_the_protocol));
        let odd = |fault: Option<&Fault>| fault.is_some_and(|fault| !fault.says_nothing_of_the_protocol());
        let surprising = faults.iter().any(|(era, fault)| odd(*fault) && self.speaks.contains(era));
        let doubted = one_is_spoken && surprising && !self.doubted;
        self.doubted = doubted;
        self.unsure = one_is_spoken && (lost || doubted);
        let outcome = match (legacy, modern) {
            (Some(Err(legacy)), Some(Err(modern))) => Err(telling(legacy, modern)),
            (Some(Err(fault)), None) | (None, Some(Err(fault))) => Err(fault),
            (legacy, modern) => Ok((legacy.and_then(Result::ok), modern.and_then(Result::ok))),
        };
        match &outcome {
            Ok((legacy, modern)) => {
                // Unsure counts as a failure for the time of the next probe, and asks for both eras again.
                self.failures = if self.unsure { self.failures.saturating_add(1) } else { 0 };
                for (era, spoken) in [(Era::Legacy, legacy.is_some()), (Era::Modern, modern.is_some())] {
                    let known = self.speaks.contains(&era);
                    if spoken && !known {
                        self.speaks.push(era);
                    } else if !spoken && !self.unsure {
                        self.speaks.retain(|e| *e != era);
                    }
                }
            }
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                self.speaks.clear();
            }
        }
        outcome
    }

    async fn legacy(&mut self, server: &Server, limit: Duration) -> Result<Offer, Fault> {
        if let (Some(speech), Some(initialized)) = (&self.session, &self.initialized) {
            // The session may be gone: then a new one is opened at once.
            if let Ok(offer) = legacy_offer(server, speech, initialized, limit).await {
                return Ok(offer);
            }
            if let Some(speech) = self.session.take() {
                session::close(server, &speech).await;
            }
        }
        let params = json!({
            "protocolVersion": Era::Legacy.newest(),
            "capabilities": {},
            "clientInfo": client_info(),
        });
        let opened = session::open(server, &params.to_string(), limit).await?;
        let speech = self.session.insert(opened.speech());
        let initialized = self.initialized.insert(opened.result);
        legacy_offer(server, speech, initialized, limit).await
    }

    /// Keeps what was known of an era whose request was lost.
    fn complete(&self, mut now: Handshake, before: &Handshake) -> Handshake {
        if self.unsure {
            now.legacy = now.legacy.or_else(|| before.legacy.clone());
            now.modern = now.modern.or_else(|| before.modern.clone());
        }
        now
    }

    fn pause(&self, state: State) -> Duration {
        let pause = match state {
            _ if self.failures > 0 => {
                let doublings = self.failures.saturating_sub(1).min(8);
                (BACKOFF.start * (1 << doublings)).min(BACKOFF.end)
            }
            State::Failed => BACKOFF.start,
            State::Ready | State::Pending => INTERVAL,
        };
        // Replicas and servers that began together do not stay together.
        pause.mul_f64(rand::rng().random_range(0.9..1.1))
    }
}

/// Of two failures the one that tells more: "this era is not spoken" says little beside "no connection".
fn telling(legacy: Fault, modern: Fault) -> Fault {
    let says_little = |fault: &Fault| matches!(fault.reason, FaultReason::ProtocolError | FaultReason::HttpError);
    if says_little(&legacy) && !says_little(&modern) {
        return modern;
    }
    legacy
}

async fn legacy_offer(
    server: &Server,
    speech: &Speech,
    initialized: &session::InitializeResult,
    limit: Duration,
) -> Result<Offer, Fault> {
    let mut offer = Offer {
        revision: speech.revision.clone(),
        capabilities: initialized.capabilities.clone(),
        server_info: initialized.server_info.clone(),
        instructions: initialized.instructions.as_deref().map(shortened),
        session: speech.session.clone(),
        catalogue: Catalogue::default(),
    };
    fill(server, speech, &mut offer, limit).await?;
    Ok(offer)
}

async fn modern(server: &Server, limit: Duration) -> Result<Offer, Fault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Discovered {
        supported_versions: Vec<String>,
        #[serde(default)]
        capabilities: Value,
        #[serde(default)]
        instructions: Option<String>,
        #[serde(default, rename = "_meta")]
        meta: Value,
    }
    let speech = Speech { era: Era::Modern, revision: MODERN.to_owned(), session: None };
    let answer = speech.ask(server, "server/discover", json!({}), limit).await?;
    let not_spoken = || Fault::protocol(format!("the server does not speak revision {MODERN}"));
    let discovered: Discovered = answer.outcome()?.map_err(|_| not_spoken())?;
    // An answer alone proves nothing: a server may answer and then speak an older revision.
    if !discovered.supported_versions.iter().any(|v| v == MODERN) {
        return Err(not_spoken());
    }
    let mut offer = Offer {
        revision: MODERN.to_owned(),
        capabilities: discovered.capabilities,
        server_info: discovered.meta.get(meta::SERVER_INFO).cloned().unwrap_or_default(),
        instructions: discovered.instructions.as_deref().map(shortened),
        session: None,
        catalogue: Catalogue::default(),
    };
    fill(server, &speech, &mut offer, limit).await?;
    Ok(offer)
}

fn shortened(instructions: &str) -> String {
    instructions.chars().take(MAX_INSTRUCTIONS_CHARS).collect()
}

/// Fetches the lists that the server says it has.
async fn fill(server: &Server, speech: &Speech, offer: &mut Offer, limit: Duration) -> Result<(), Fault> {
    let wanted = ListKind::ALL
        .into_iter()
        .filter(|kind| offer.has(kind.capability()))
        .map(|kind| async move { (kind, fetch_list(server, speech, kind, limit).await) });
    for (kind, list) in futures::future::join_all(wanted).await {
        match list {
            Ok(list) => offer.catalogue.set(kind, list),
            Err(fault) if kind == ListKind::Tools => return Err(fault),
            // Tools are what a server is here for; a broken list of another kind costs that list.
            Err(fault) => {
                tracing::warn!(server = %server.name, list = kind.method(), %fault, "list not fetched");
            }
        }
    }
    Ok(())
}
