//! Logs: JSON for machines, text for people; the level follows the configuration.

use std::sync::Mutex;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use serde::{Deserialize, Serialize};

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For a terminal.
    Text,
}

/// Least severity that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The word that the log filter reads.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Changes the level of a running process.
pub struct LogControl {
    /// The crate whose level it is.
    own: &'static str,
    handle: reload::Handle<EnvFilter, Registry>,
    current: Mutex<LogLevel>,
}

impl LogControl {
    /// Starts logging to standard error; the level is that of the crate `own`.
    #[must_use]
    pub fn start(format: LogFormat, own: &'static str) -> Self {
        let level = LogLevel::default();
        let (filter, handle) = reload::Layer::new(filter(own, level));
        let registry = tracing_subscriber::registry().with(filter);
        let writer = std::io::stderr;
        // A second start in one process (tests) keeps the first.
        let _ = match format {
            LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(writer)).try_init(),
            LogFormat::Text => registry.with(fmt::layer().with_writer(writer)).try_init(),
        };
        Self { own, handle, current: Mutex::new(level) }
    }

    /// Sets the level.
    pub fn set(&self, level: LogLevel) {
        let mut current = self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *current != level && self.handle.reload(filter(self.own, level)).is_ok() {
            *current = level;
        }
    }
}

/// Other crates' debug output could hold headers, so that they stay at `info` whatever is configured.
fn filter(own: &str, level: LogLevel) -> EnvFilter {
    let others = match level {
        LogLevel::Debug | LogLevel::Trace => "info",
        other => other.as_str(),
    };
    EnvFilter::new(format!("{others},{own}={}", level.as_str()))
}
