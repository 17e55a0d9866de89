//! What this replica keeps of sessions: the sessions with servers that it opened for them.
//!
//! Promises: one session with a server per client session, opened when first needed, by one task at a time,
//! and opened again when the server has forgotten it. Must never be the only place that knows a session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use tokio::sync::Notify;

use super::ended::Ended;
use super::seal::{MAX_AGE_SECONDS, Ticket};
use crate::mcp::Era;
use crate::mcp::envelope::Implementation;
use crate::stream::scan::Facts;
use crate::upstream::exchange::Speech;
use crate::upstream::{Fault, Server, session};

/// What was kept for a session that nobody used this long is closed.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// A client that has not fetched the rest of an answer by then has given it up.
const PARKED_FOR: Duration = Duration::from_secs(5 * 60);
/// So many answers of one session can be waiting; the oldest is given up.
const MAX_PARKED: usize = 64;
/// More sessions than this are not kept: the one that was idle longest goes.
const MAX_KEPT: usize = 20_000;
/// So many above it are not waited for until the next look at idle ones.
const CROWD: usize = 2_000;

/// A request whose answer the client fetches in another stream than its own.
pub trait Awaiting: Send {
    /// Whether the message answers it.
    fn is_answer(&self, facts: &Facts) -> bool;
    /// It is answered.
    fn answered(&mut self, facts: &Facts);
}

/// A session of a legacy client, as this replica knows it.
pub struct Session {
    /// What its id says.
    pub ticket: Ticket,
    slots: Mutex<HashMap<[u8; 32], Arc<Slot>>>,
    began: Instant,
    /// Milliseconds since `began`.
    used: AtomicU64,
    parked: Mutex<Vec<(Instant, Box<dyn Awaiting>)>>,
}

struct Slot {
    server: Arc<Server>,
    speech: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    speech: Option<Speech>,
    /// The session in the ticket is not known to the server any more.
    lost: bool,
    /// How the last try to open one ended, and when.
    failed: Option<(Instant, Fault)>,
}

impl Session {
    fn new(ticket: Ticket) -> Self {
        Self {
            ticket,
            slots: Mutex::default(),
            began: Instant::now(),
            used: AtomicU64::new(0),
            parked: Mutex::default(),
        }
    }

    /// For the audit trail: the random part of the id, which opens nothing.
    #[must_use]
    pub fn name(&self) -> String {
        hex::encode(self.ticket.id)
    }

    /// How the client introduced itself.
    #[must_use]
    pub fn client_info(&self) -> Option<Implementation> {
        #[derive(serde::Deserialize)]
        struct Client {
            #[serde(rename = "clientInfo")]
            info: Implementation,
        }
        serde_json::from_str::<Client>(&self.ticket.client).ok().map(|c| c.info)
    }

    /// How to speak to a server within this session; opens one with the server if there is none.
    ///
    /// # Errors
    /// Every [`Fault`].
    pub async fn speech(&self, server: &Arc<Server>) -> Result<Speech, Fault> {
        let slot = self.slot(server);
        let asked = Instant::now();
        let mut state = slot.speech.lock().await;
        if let Some(speech) = &state.speech {
            return Ok(speech.clone());
        }
        // Calls that waited together for a server that hangs fail together, not one after the other.
        if let Some((_, fault)) = state.failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(fault.clone());
        }
        let known = match state.lost {
            true => None,
            false => self.carried(server).or_else(|| sessionless(server)),
        };
        let speech = match known {
            Some(speech) => speech,
            None => match session::open(server, &self.ticket.client, server.timeout).await {
                Ok(opened) => opened.speech(),
                Err(fault) => {
                    state.failed = Some((Instant::now(), fault.clone()));
                    return Err(fault);
                }
            },
        };
        Ok(state.speech.insert(speech).clone())
    }

    /// The server has forgotten this session: the next call opens another one.
    pub async fn lost(&self, server: &Arc<Server>, which: &Speech) {
        let slot = self.slot(server);
        let mut state = slot.speech.lock().await;
        // Another call may have opened a new one already.
        if state.speech.as_ref().is_none_or(|s| s.session == which.session) {
            state.speech = None;
            state.lost = true;
        }
    }

    /// Keeps a request until its answer comes in another stream, or too late.
    pub fn park(&self, request: Box<dyn Awaiting>) {
        let mut parked = locked(&self.parked);
        if parked.len() >= MAX_PARKED {
            parked.remove(0);
        }
        parked.push((Instant::now(), request));
    }

    /// An answer came in another stream than its request's own.
    pub fn conclude(&self, facts: &Facts) {
        let mut parked = locked(&self.parked);
        if let Some(at) = parked.iter().position(|(_, request)| request.is_answer(facts)) {
            parked.remove(at).1.answered(facts);
        }
    }

    /// The sessions with servers that are open here.
    pub async fn open_speeches(&self) -> Vec<(Arc<Server>, Speech)> {
        let slots: Vec<Arc<Slot>> = locked(&self.slots).values().cloned().collect();
        let mut open = Vec::new();
        for slot in slots {
            if let Some(speech) = &slot.speech.lock().await.speech {
                open.push((slot.server.clone(), speech.clone()));
            }
        }
        open
    }

    fn take_foreign(&self, servers: &[Arc<Server>]) -> Vec<Arc<Slot>> {
        let is_foreign = |slot: &Slot| !servers.iter().any(|server| server.fingerprint == slot.server.fingerprint);
        locked(&self.slots).extract_if(|_, slot| is_foreign(slot)).map(|(_, slot)| slot).collect()
    }

    fn slot(&self, server: &Arc<Server>) -> Arc<Slot> {
        locked(&self.slots)
            .entry(server.fingerprint)
            .or_insert_with(|| Arc::new(Slot { server: server.clone(), speech: tokio::sync::Mutex::default() }))
            .clone()
    }

    fn carried(&self, server: &Server) -> Option<Speech> {
        let upstream = self.ticket.upstream.as_ref()?;
        if server.fingerprint[..8] != upstream.server {
            return None;
        }
        let session = match upstream.session.is_empty() {
            true => None,
            false => Some(HeaderValue::from_bytes(&upstream.session).ok()?),
        };
        Some(Speech { era: Era::Legacy, revision: self.ticket.revision.to_owned(), session })
    }

    fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(now, Ordering::Relaxed);
    }

    fn idle_since(&self) -> Instant {
        self.began + Duration::from_millis(self.used.load(Ordering::Relaxed))
    }
}

/// A server that keeps no sessions needs no `initialize` for each client.
fn sessionless(server: &Server) -> Option<Speech> {
    let handshake = server.handshake();
    let offer = handshake.legacy.as_ref()?;
    offer.session.is_none().then(|| Speech { era: Era::Legacy, revision: offer.revision.clone(), session: None })
}

/// The sessions that this replica knows.
#[derive(Default)]
pub struct Sessions {
    kept: Mutex<HashMap<[u8; 16], Arc<Session>>>,
    crowded: Notify,
    /// Those that were ended.
    pub ended: Ended,
}

/// Why a session id is not accepted. To the caller all are the same: 404, begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NoSession {
    NotOurs,
    OtherPrincipal,
    TooOld,
    Ended,
}

impl Sessions {
    /// The session behind an opened ticket.
    ///
    /// # Errors
    /// [`NoSession`]
    pub fn resume(
        &self,
        ticket: Option<Ticket>,
        principal: &[u8; 16],
        now_seconds: u64,
    ) -> Result<Arc<Session>, NoSession> {
        let ticket = ticket.ok_or(NoSession::NotOurs)?;
        if &ticket.principal != principal {
            return Err(NoSession::OtherPrincipal);
        }
        if now_seconds > ticket.created.saturating_add(MAX_AGE_SECONDS) {
            return Err(NoSession::TooOld);
        }
        if self.ended.contains(&ticket.id) {
            return Err(NoSession::Ended);
        }
        let mut kept = locked(&self.kept);
        let session = match kept.get(&ticket.id) {
            Some(session) => session.clone(),
            None => {
                let session = Arc::new(Session::new(ticket));
                kept.insert(session.ticket.id, session.clone());
                if kept.len() > MAX_KEPT + CROWD {
                    self.crowded.notify_one();
                }
                session
            }
        };
        drop(kept);
        session.touch();
        Ok(session)
    }

    /// Ends a session, here and at the other replicas.
    pub fn end(&self, session: &Session, now_seconds: u64) {
        self.ended.end(session.ticket.id, now_seconds);
        drop(self.take(&session.ticket.id));
    }

    /// Takes out a session; the caller closes it.
    #[must_use]
    pub fn take(&self, id: &[u8; 16]) -> Option<Arc<Session>> {
        locked(&self.kept).remove(id)
    }

    /// Waits until there are so many that some must go before the next look at idle ones.
    pub async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        locked(&self.kept).len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out what has been idle too long, or is too many; the caller closes it.
    #[must_use]
    pub fn take_idle(&self, now: Instant) -> Vec<Arc<Session>> {
        let mut kept = locked(&self.kept);
        for session in kept.values() {
            locked(&session.parked).retain(|(since, _)| now.saturating_duration_since(*since) <= PARKED_FOR);
        }
        let idle = |session: &Session| now.saturating_duration_since(session.idle_since()) > IDLE;
        let mut gone: Vec<[u8; 16]> = kept.iter().filter(|(_, session)| idle(session)).map(|(id, _)| *id).collect();
        let left = kept.len() - gone.len();
        if left > MAX_KEPT {
            let mut rest: Vec<_> = kept
                .iter()
                .filter(|(_, session)| !idle(session))
                .map(|(id, session)| (session.idle_since(), *id))
                .collect();
            rest.sort_unstable();
            gone.extend(rest.into_iter().take(left - MAX_KEPT).map(|(_, id)| id));
        }
        gone.iter().filter_map(|id| kept.remove(id)).collect()
    }

    /// Takes out everything, at the end of the process.
    #[must_use]
    pub fn take_all(&self) -> Vec<Arc<Session>> {
        locked(&self.kept).drain().map(|(_, session)| session).collect()
    }
}

/// Closes the sessions with servers that are not configured any more.
pub async fn close_foreign(sessions: &Sessions, servers: &[Arc<Server>]) {
    let kept: Vec<Arc<Session>> = locked(&sessions.kept).values().cloned().collect();
    let foreign = kept.iter().flat_map(|session| session.take_foreign(servers));
    let closing = foreign.map(|slot| async move {
        if let Some(speech) = &slot.speech.lock().await.speech {
            session::close(&slot.server, speech).await;
        }
    });
    futures::future::join_all(closing).await;
}

/// Closes the sessions with servers, all at once.
pub async fn close(sessions: &[Arc<Session>]) {
    let closing = sessions.iter().map(|client| async move {
        let open = client.open_speeches().await;
        let each = open.iter().map(|(server, speech)| session::close(server, speech));
        futures::future::join_all(each).await;
    });
    futures::future::join_all(closing).await;
}

/// A poisoned lock only says that a thread died elsewhere: what these maps hold is whole at any time.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
