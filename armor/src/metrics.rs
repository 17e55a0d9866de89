//! Armor's own figures.
//!
//! Promises: labels are bounded: server, outcome, class of method, era. Must never carry a user, a tool's
//! name, an argument or an error's text.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::upstream::FaultReason;

type Labels<const N: usize> = [(&'static str, String); N];

/// From a pass-through on one machine to the longest timeout.
const SECONDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 600.0];

#[derive(Clone)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

/// The outcome of a request that a server answered; the others are those of [`FaultReason`].
pub const ANSWERED: &str = "ok";

/// What became of a request, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome {
    Success,
    /// The server or tool answered with an error, or the request was wrong.
    Error,
    /// A rule refused it.
    Blocked,
    /// The server could not be asked.
    UpstreamError,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Blocked => "blocked",
            Self::UpstreamError => "upstream_error",
        }
    }
}

/// All of them.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Labels<3>, Counter>,
    request_seconds: Family<Labels<1>, Histogram, Buckets>,
    upstream: Family<Labels<2>, Counter>,
    upstream_seconds: Family<Labels<1>, Histogram, Buckets>,
    refusals: Family<Labels<1>, Counter>,
    server_ready: Family<Labels<1>, Gauge>,
    known_servers: Mutex<BTreeSet<String>>,
    reloads: Family<Labels<1>, Counter>,
    /// 1 while the running configuration is the one in the directory.
    pub config_synchronized: Gauge,
    /// Sessions of legacy clients that this replica knows.
    pub sessions: Gauge,
    /// Requests whose answer is not finished.
    pub in_flight: Gauge,
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("armor")),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(Buckets),
            upstream: Family::default(),
            upstream_seconds: Family::new_with_constructor(Buckets),
            refusals: Family::default(),
            server_ready: Family::default(),
            known_servers: Mutex::default(),
            reloads: Family::default(),
            config_synchronized: Gauge::default(),
            sessions: Gauge::default(),
            in_flight: Gauge::default(),
        };
        metrics.with_registry(|registry| metrics.register(registry));
        metrics
    }

    fn register(&self, r: &mut Registry) {
        r.register("requests", "Requests of callers", self.requests.clone());
        r.register("request_seconds", "Time until the head of the answer", self.request_seconds.clone());
        r.register("upstream_requests", "Requests to servers", self.upstream.clone());
        r.register("upstream_seconds", "Time until the head of a server's answer", self.upstream_seconds.clone());
        r.register("refusals", "Requests refused before their principal was known", self.refusals.clone());
        r.register("server_ready", "1 while the handshake with a server succeeds", self.server_ready.clone());
        r.register("config_reloads", "Configurations that were read, by result", self.reloads.clone());
        r.register(
            "config_synchronized",
            "1 while the running configuration is the one in the directory",
            self.config_synchronized.clone(),
        );
        r.register("sessions", "Sessions of legacy clients that this replica knows", self.sessions.clone());
        r.register("in_flight", "Requests whose answer is not finished", self.in_flight.clone());
    }

    /// For parts that register figures of their own, under the prefix `armor`.
    pub fn with_registry(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A request was answered.
    pub fn request(&self, method: &str, era: &'static str, outcome: Outcome, took: Duration) {
        let class = method_class(method).to_owned();
        self.requests
            .get_or_create(&[
                ("method", class.clone()),
                ("era", era.to_owned()),
                ("outcome", outcome.as_str().to_owned()),
            ])
            .inc();
        self.request_seconds.get_or_create(&[("method", class)]).observe(took.as_secs_f64());
    }

    /// A server answered, or did not.
    pub fn upstream(&self, server: &str, outcome: &'static str, took: Duration) {
        self.upstream.get_or_create(&[("server", server.to_owned()), ("outcome", outcome.to_owned())]).inc();
        self.upstream_seconds.get_or_create(&[("server", server.to_owned())]).observe(took.as_secs_f64());
    }

    /// A stranger was refused.
    pub fn refusal(&self, cause: &'static str) {
        self.refusals.get_or_create(&[("cause", cause.to_owned())]).inc();
    }

    /// A probe ended.
    pub fn server_ready(&self, server: &str, ready: bool) {
        self.known_servers.lock().unwrap_or_else(PoisonError::into_inner).insert(server.to_owned());
        self.server_ready.get_or_create(&[("server", server.to_owned())]).set(i64::from(ready));
    }

    /// The servers that have figures of their own.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        let known = self.known_servers.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().cloned().collect()
    }

    /// A server is gone from the configuration.
    pub fn forget_server(&self, server: &str) {
        self.known_servers.lock().unwrap_or_else(PoisonError::into_inner).remove(server);
        let label = [("server", server.to_owned())];
        self.server_ready.remove(&label);
        self.upstream_seconds.remove(&label);
        for outcome in FaultReason::ALL.map(FaultReason::as_str).into_iter().chain([ANSWERED]) {
            self.upstream.remove(&[label[0].clone(), ("outcome", outcome.to_owned())]);
        }
    }

    /// A configuration was read.
    pub fn reload(&self, result: &'static str) {
        self.reloads.get_or_create(&[("result", result.to_owned())]).inc();
    }

    /// The text that is scraped.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut out, &self.registry.lock().unwrap_or_else(PoisonError::into_inner));
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Methods are the caller's text: only those of the protocol become labels.
fn method_class(method: &str) -> &str {
    const KNOWN: [&str; 17] = [
        "initialize",
        "server/discover",
        "ping",
        "tools/call",
        "tools/list",
        "prompts/get",
        "prompts/list",
        "resources/read",
        "resources/list",
        "resources/templates/list",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "logging/setLevel",
        "subscriptions/listen",
        "GET",
        "DELETE",
    ];
    match method {
        known if KNOWN.contains(&known) => known,
        notification if notification.starts_with("notifications/") => "notification",
        task if task.starts_with("tasks/") => "task",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_server_that_is_gone() {
        let metrics = Metrics::new();
        metrics.server_ready("crm", true);
        for outcome in FaultReason::ALL.map(FaultReason::as_str).into_iter().chain([ANSWERED]) {
            metrics.upstream("crm", outcome, Duration::ZERO);
        }
        assert!(metrics.text().contains("crm"));
        metrics.forget_server("crm");
        assert!(!metrics.text().contains("crm"), "{}", metrics.text());
        assert!(metrics.servers().is_empty());
    }
}
