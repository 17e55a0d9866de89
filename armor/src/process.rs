//! The process: configuration in, connections served, everything awaited at the end.
//!
//! Promises: one shutdown signal, fanned out; every task is awaited; a call that is under way when the signal
//! comes is finished within the grace period, and then the audit tail is sent. Must never fail liveness because
//! of a configuration, a server or Redis.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::listen::bind_until;
use daemon::logging::LogControl;
use daemon::process::{RunError, admin_port, end};
use daemon::serve::serve;
use daemon::watch::Directories;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::load::CONFIG_FILE;
use crate::gateway::Gateway;
use crate::reload::Reloader;
use crate::session::store::{close, close_foreign};
use crate::{admin, endpoint};

/// How long a call may go on after the signal.
const GRACE: Duration = Duration::from_secs(25);
/// Connections are still taken this long after the signal: it takes a while until every node has learned
/// that this replica is not ready.
const LAME_DUCK: Duration = Duration::from_secs(3);
/// How often idle sessions are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// Where the admin port is while no configuration says so.
const DEFAULT_ADMIN_PORT: u16 = 9090;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of `armor.yaml`.
    pub config_dir: PathBuf,
    /// Directory of the secrets.
    pub secrets_dir: PathBuf,
    /// `component.instance` of events.
    pub instance: String,
}

/// The tokens by which parts are told to end, in the order in which they are.
#[derive(Clone, Default)]
pub(crate) struct Stops {
    /// No new connections.
    pub accepting: CancellationToken,
    /// Open calls are given up.
    pub give_up: CancellationToken,
    /// Configuration, probes, sweeping.
    pub background: CancellationToken,
    /// The audit writer.
    pub audit: CancellationToken,
    /// The admin port, last.
    pub admin: CancellationToken,
}

/// Runs until a signal comes.
///
/// # Errors
/// [`RunError`]
pub async fn run(options: Options, logs: LogControl) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let gateway = Arc::new(Gateway::new());
    let stops = Stops::default();
    let directories = Directories::watch(&options.config_dir, CONFIG_FILE, &options.secrets_dir);
    let admin_port = admin_port(&options.config_dir.join(CONFIG_FILE), DEFAULT_ADMIN_PORT);

    let mut background = JoinSet::new();
    let reloader = Reloader::new(gateway.clone(), options, logs, stops.clone());
    let config = reloader.run(directories);
    background.spawn(async move {
        config.await;
        "config"
    });
    background.spawn(sweep(gateway.clone(), stops.background.clone()));
    let mut admin_task = JoinSet::new();
    admin_task.spawn(serve_admin(gateway.clone(), admin_port, stops.clone()));

    let died = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        Some(ended) = background.join_next() => Some(ended),
        Some(ended) = admin_task.join_next() => Some(ended),
    };
    tracing::info!("draining");
    let asked = Instant::now();
    gateway.draining.cancel();
    if died.is_none() {
        tokio::select! {
            () = tokio::time::sleep(LAME_DUCK) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    stops.accepting.cancel();
    // The listener's task is part of the configuration's, which ends when it has.
    stops.background.cancel();
    let finish = async { while background.join_next().await.is_some() {} };
    tokio::pin!(finish);
    tokio::select! {
        () = &mut finish => {}
        () = tokio::time::sleep(GRACE.saturating_sub(asked.elapsed())) => {
            tracing::warn!("calls are given up: the grace period is over");
            stops.give_up.cancel();
            finish.await;
        }
    }
    stops.admin.cancel();
    while admin_task.join_next().await.is_some() {}
    tracing::info!("stopped");
    end(died)
}

/// Serves the admin port.
async fn serve_admin(gateway: Arc<Gateway>, port: u16, stops: Stops) -> &'static str {
    if let Some(listener) = bind_until(port, "admin", &stops.admin).await {
        let handle = move |_, request| admin::handle(gateway.clone(), request);
        serve(listener, handle, || None, stops.admin.clone(), stops.admin).await;
    }
    "admin"
}

/// Serves the MCP endpoint.
pub(crate) async fn serve_mcp(gateway: Arc<Gateway>, port: u16, stops: Stops) {
    let Some(listener) = bind_until(port, "mcp", &stops.accepting).await else {
        return;
    };
    gateway.set_listening();
    let tls = {
        let gateway = gateway.clone();
        move || gateway.running().and_then(|running| running.tls.clone())
    };
    let handle = move |peer, request| endpoint::handle(gateway.clone(), peer, request);
    serve(listener, handle, tls, stops.accepting, stops.give_up).await;
}

/// Closes what idle sessions hold.
async fn sweep(gateway: Arc<Gateway>, stop: CancellationToken) -> &'static str {
    loop {
        tokio::select! {
            () = stop.cancelled() => return "sweep",
            () = gateway.sessions.crowded() => {}
            () = tokio::time::sleep(SWEEP) => {}
        }
        close(&gateway.sessions.take_idle(Instant::now())).await;
        if let Some(running) = gateway.running() {
            close_foreign(&gateway.sessions, &running.servers).await;
        }
    }
}
