//! The audit trail: what Armor says about each call, on its way into the pool's Redis stream.
//!
//! Promises: exactly one `tool_call` for each [`CallGuard`], whatever becomes of the call; a stranger's
//! refusals never push a principal's calls out; every event that is lost is counted and announced. Must
//! never make a call wait or fail, hold an argument's value, or write to Redis from more than one task.
//!
//! ```text
//! CallGuard ----------------\
//! refuse ------> Joiner ----+--> Queue (10,000, three lanes) --> Writer --> XADD
//! upstream_error > Joiner --/
//! ```

mod call;
mod incident;
mod joiner;
mod metrics;
mod parameters;
mod queue;
mod refusal;
mod settings;
mod writer;

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use events::{Body, Component, Moment, Repeat, Source, Text};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use call::{CallGuard, CallStart};
pub use events::{
    Agent, AuthFailure, AuthMethod, CallRef, Caller, ConfigSource, Cost, ErrorCause, Outcome, Policy, Reason,
    RouteCause, TextList, UpstreamCause, Usd, User,
};
pub use metrics::AuditMetrics;
pub use parameters::{Parameters, hash as arguments_hash};
pub use refusal::{Refusal, RefusalCause};
pub use settings::{AuditConfig, AuditError, AuditSettings};

use incident::Incidents;
use queue::{Lane, Queue};
use refusal::Refusals;
pub(crate) use settings::Target;

/// The handle by which everything else speaks to the audit trail. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    shared: Arc<Shared>,
}

/// What the handles and the writer have in common.
struct Shared {
    source: Source,
    queue: Queue,
    refusals: Refusals,
    incidents: Incidents,
    parameters: ArcSwap<Parameters>,
    target: watch::Sender<Arc<Target>>,
    metrics: AuditMetrics,
    tools_call: Option<Text>,
}

impl Audit {
    /// The handle, and the task that writes. The task ends once `shutdown` is cancelled and the tail is
    /// flushed, at most 5 s later: cancel it after the last call has ended. That Redis is down is no error.
    pub fn start(
        config: AuditConfig,
        shutdown: CancellationToken,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), AuditError> {
        let required = |field, raw: &str| Text::new(raw).ok_or(AuditError::Empty(field));
        let source = Source {
            pool_id: required("pool.id", &config.pool_id)?,
            pool_name: Text::new(&config.pool_name),
            pool_namespace: Text::new(&config.pool_namespace),
            cluster_id: config.cluster_id.as_deref().and_then(Text::new),
            component: Component::Armor,
            version: required("version", &config.version)?,
            instance: required("instance", &config.instance)?,
        };
        let target = Target::new(&config.settings)?;
        let metrics = AuditMetrics::new();
        let shared = Arc::new(Shared {
            source,
            queue: Queue::new(metrics.clone()),
            refusals: Refusals::default(),
            incidents: Incidents::default(),
            parameters: ArcSwap::from_pointee(config.settings.parameters),
            target: watch::Sender::new(Arc::new(target)),
            metrics,
            tools_call: Text::new("tools/call"),
        });
        let task = writer::run(Arc::clone(&shared), shutdown);
        Ok((Self { shared }, task))
    }

    /// Takes other settings into use, without losing what is queued. On an error the old ones stay.
    pub fn reconfigure(&self, settings: AuditSettings) -> Result<(), AuditError> {
        let target = Arc::new(Target::new(&settings)?);
        self.shared.parameters.store(Arc::new(settings.parameters));
        // Only a real difference is worth a new connection.
        self.shared.target.send_if_modified(|current| {
            let differs = **current != *target;
            *current = target;
            differs
        });
        Ok(())
    }

    /// The pool's Redis, for what else is kept there.
    pub(crate) fn redis(&self) -> watch::Receiver<Arc<Target>> {
        self.shared.target.subscribe()
    }

    /// The counters of the trail.
    #[must_use]
    pub fn metrics(&self) -> &AuditMetrics {
        &self.shared.metrics
    }

    /// Opens the record of an authenticated `tools/call`.
    pub fn open_call(&self, start: CallStart<'_>) -> CallGuard {
        CallGuard::open(Arc::clone(&self.shared), start)
    }

    /// Records that a request was refused before its principal was known.
    pub fn refuse(&self, refusal: &Refusal<'_>) {
        self.shared.refuse(refusal, Instant::now());
    }

    /// Records that the conversation with a server failed, in a call or in a probe.
    pub fn upstream_error(&self, server: &str, cause: UpstreamCause, http_status: Option<u16>, call: CallRef) {
        if let Some(server) = Text::new(server) {
            self.shared.upstream_error(server, cause, http_status, call, Instant::now());
        }
    }

    /// Records that a principal asked for what the pool does not have.
    pub fn route_not_found(&self, cause: RouteCause, call: CallRef) {
        self.shared.route_not_found(cause, call, Instant::now());
    }

    /// Records that another configuration is in force. `hash` is a digest of what was read.
    pub fn config_change(&self, revision: &str, previous: Option<&str>, hash: &str, source: ConfigSource) {
        if let (Some(revision), Some(hash)) = (Text::new(revision), Text::new(hash)) {
            let change = events::ConfigChange { revision, previous: previous.and_then(Text::new), hash, source };
            self.shared.emit(Lane::Operational, Body::ConfigChange(change), None);
        }
    }
}

impl Shared {
    fn emit(&self, lane: Lane, body: Body, repeat: Option<Repeat>) {
        self.queue.push(lane, Moment::new(Timestamp::now()), body, repeat);
    }
}
