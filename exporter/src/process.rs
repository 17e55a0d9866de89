//! The process: configuration in, destinations served, everything awaited at the end.
//!
//! Promises: one shutdown signal, fanned out; every task is awaited; what is on its way when the signal comes is
//! acknowledged if its answer comes in time, and is otherwise another replica's. Must never fail liveness or readiness
//! because of a configuration that changed, a SIEM or Redis.

use std::path::PathBuf;
use std::sync::Arc;

use daemon::listen::bind_until;
use daemon::logging::LogControl;
use daemon::process::{RunError, admin_port, end};
use daemon::serve::serve;
use daemon::watch::Directories;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::server;
use crate::config::CONFIG_FILE;
use crate::reload::{Reloader, View};
use crate::setup::Environment;

/// Where the API is while no configuration says so.
const DEFAULT_ADMIN_PORT: u16 = 9091;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of `exporter.yaml`.
    pub config_dir: PathBuf,
    /// Directory of the secrets.
    pub secrets_dir: PathBuf,
    /// What the Pod is.
    pub environment: Environment,
}

/// Runs until a signal comes.
///
/// # Errors
/// [`RunError`]
pub async fn run(options: Options, logs: LogControl) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let (work, admin) = (CancellationToken::new(), CancellationToken::new());
    let directories = Directories::watch(&options.config_dir, CONFIG_FILE, &options.secrets_dir);
    let port = admin_port(&options.config_dir.join(CONFIG_FILE), DEFAULT_ADMIN_PORT);
    let (reloader, view) = Reloader::new(options.environment, logs, work.clone());

    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        reloader.run(directories).await;
        "configuration"
    });
    let mut admin_task = JoinSet::new();
    admin_task.spawn(serve_admin(view, port, admin.clone()));

    let died = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        Some(ended) = tasks.join_next() => Some(ended),
        Some(ended) = admin_task.join_next() => Some(ended),
    };
    tracing::info!("finishing");
    work.cancel();
    while tasks.join_next().await.is_some() {}
    admin.cancel();
    while admin_task.join_next().await.is_some() {}
    tracing::info!("stopped");
    end(died)
}

async fn serve_admin(view: Arc<View>, port: u16, stop: CancellationToken) -> &'static str {
    if let Some(listener) = bind_until(port, "admin", &stop).await {
        let handle = move |_, request| server::handle(view.clone(), request);
        serve(listener, handle, || None, stop.clone(), stop).await;
    }
    "admin"
}
