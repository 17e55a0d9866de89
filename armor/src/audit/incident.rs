//! Operational events that calls and probes cause, joined per subject.
//!
//! Promises: a server that is down says so once in 10 s, however many calls it fails.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use events::{Body, CallRef, Repeat, RouteCause, RouteNotFound, Text, UpstreamCause, UpstreamError, User};

use super::{
    Lane, Shared,
    joiner::{Joiner, Subject, Verdict},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Incident {
    Upstream {
        server: Text,
        cause: UpstreamCause,
    },
    Route {
        /// Absent where there are too many to keep apart.
        user: Option<Arc<User>>,
        cause: RouteCause,
    },
}

impl Subject for Incident {
    fn overflow(&self) -> Self {
        match self {
            // A pool has few servers, so these are never too many by themselves.
            Self::Upstream { .. } => self.clone(),
            Self::Route { cause, .. } => Self::Route { user: None, cause: *cause },
        }
    }
}

impl Incident {
    /// The event of joined incidents, with what they have in common.
    fn body(self) -> Body {
        match self {
            Self::Upstream { server, cause } => {
                Body::UpstreamError(UpstreamError { server, cause, http_status: None, call: CallRef::default() })
            }
            Self::Route { user, cause } => Body::RouteNotFound(RouteNotFound {
                cause,
                client_ip: None,
                call: CallRef { user, ..CallRef::default() },
            }),
        }
    }
}

/// The incidents that are being joined.
#[derive(Default)]
pub(super) struct Incidents(Mutex<Joiner<Incident>>);

impl Incidents {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Joiner<Incident>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    pub(super) fn upstream_error(
        &self,
        server: Text,
        cause: UpstreamCause,
        http_status: Option<u16>,
        call: CallRef,
        now: Instant,
    ) {
        let incident = Incident::Upstream { server: server.clone(), cause };
        let error = UpstreamError { server, cause, http_status, call };
        let request_id = error.call.request_id.clone();
        self.admit(incident, request_id, || Body::UpstreamError(error), now);
    }

    pub(super) fn route_not_found(&self, cause: RouteCause, call: CallRef, now: Instant) {
        let incident = Incident::Route { user: call.user.clone(), cause };
        let event = RouteNotFound { cause, client_ip: None, call };
        let request_id = event.call.request_id.clone();
        self.admit(incident, request_id, || Body::RouteNotFound(event), now);
    }

    fn admit(&self, incident: Incident, request_id: Option<Text>, body: impl FnOnce() -> Body, now: Instant) {
        let verdict = self.incidents.with(|joiner| joiner.admit(incident, request_id.as_ref(), now));
        if verdict == Verdict::Send {
            self.emit(Lane::Operational, body(), None);
        }
    }

    pub(super) fn emit_joined_incident(&self, incident: Incident, repeat: Repeat) {
        self.emit(Lane::Operational, incident.body(), Some(repeat));
    }
}
