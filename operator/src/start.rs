//! From flags to running controllers: client, leader election, shutdown.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config};
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::controller;
use crate::health::{self, Health};
use crate::metrics::Metrics;
use crate::settings::{LogFormat, Settings};
use crate::world::ClusterFacts;

/// A lease is good for this long after its last renewal; a dead leader is replaced within it.
const LEASE_SECONDS: u64 = 15;
/// The leader renews this long before the end.
const LEASE_GRACE_SECONDS: u64 = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a watch without events, which the server ends after 60 s.
const READ_TIMEOUT: Duration = Duration::from_secs(90);
/// How long running reconciles may take to finish after a stop signal.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the process can not start or go on.
#[derive(Debug, Error)]
pub enum StartError {
    /// No kubeconfig and no service account.
    #[error("no access to a cluster: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The client could not be built.
    #[error("Kubernetes client: {0}")]
    Client(#[from] kube::Error),
    /// A port is taken, or a signal handler can not be set.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The lease can not be used.
    #[error("leader election: {0}")]
    Lease(#[from] LeaseManagerError),
    /// The HTTP client for Armor could not be built.
    #[error("HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// Another replica leads now.
    #[error("the lease was lost; another replica goes on")]
    LeaseLost,
    /// A task died.
    #[error("a task ended unexpectedly: {0}")]
    Task(String),
}

/// Sets up logging, once.
pub fn init_logging(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stdout().is_terminal();
    let format = settings.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(terminal);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).init(),
        LogFormat::Text => builder.init(),
    }
}

/// Runs until a signal or a failure.
///
/// # Errors
/// See `StartError`.
pub async fn run(settings: Settings) -> Result<(), StartError> {
    let settings = Arc::new(settings);
    let metrics = Metrics::default();
    let health = Health::default();
    let stop = CancellationToken::new();
    let listener = listen(settings.http_port).await?;
    let server = tokio::spawn(health::serve(listener, health.clone(), metrics.clone(), stop.clone()));

    let mut leading = Box::pin(lead(settings, metrics, health, stop.clone()));
    let result = tokio::select! {
        result = &mut leading => result,
        signal = stop_signal() => {
            tracing::info!("stopping");
            stop.cancel();
            let drained = tokio::time::timeout(DRAIN, leading).await;
            signal.and(drained.unwrap_or(Ok(())))
        }
    };
    stop.cancel();
    match tokio::time::timeout(DRAIN, server).await {
        Ok(Ok(served)) => result.and(served.map_err(StartError::from)),
        Ok(Err(panic)) => result.and(Err(StartError::Task(panic.to_string()))),
        Err(_) => result,
    }
}

/// Listens on every address, IPv6 included where the node has it.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(("::", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
    }
}

async fn stop_signal() -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn client() -> Result<Client, StartError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    Ok(Client::try_from(config)?)
}

/// Waits for the lease, reconciles while it is held, and gives it back.
async fn lead(
    settings: Arc<Settings>,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let client = client().await?;
    if !settings.leader_elect {
        metrics.set_leader(true);
        return reconcile(client, settings, metrics, health, stop).await;
    }
    let lease = LeaseManagerBuilder::new(client.clone(), &settings.lease_name)
        .with_namespace(&settings.namespace)
        .with_identity(&settings.pod_name)
        .with_duration(LEASE_SECONDS)
        .with_grace(LEASE_GRACE_SECONDS)
        .build()
        .await?;
    let (mut leads, task) = lease.watch().await;
    tracing::info!(lease = settings.lease_name, "waiting for the lease");
    while !*leads.borrow_and_update() {
        let Some(changed) = stop.run_until_cancelled(leads.changed()).await else { return Ok(()) };
        if changed.is_err() {
            return Err(task.await.map_or_else(
                |e| StartError::Task(e.to_string()),
                |r| r.err().map_or(StartError::LeaseLost, StartError::from),
            ));
        }
    }
    tracing::info!(identity = settings.pod_name, "leading");
    metrics.set_leader(true);
    let result = tokio::select! {
        result = reconcile(client, settings, metrics, health, stop.clone()) => result,
        // Two leaders would undo each other's work, so the process ends, and its Pod starts again as a standby.
        () = lost(&mut leads) => Err(StartError::LeaseLost),
    };
    drop(leads);
    // The manager gives the lease back when its channel closes, so that a successor need not wait for its end.
    let _ = tokio::time::timeout(DRAIN, task).await;
    result
}

async fn lost(leads: &mut tokio::sync::watch::Receiver<bool>) {
    while leads.changed().await.is_ok() {
        if !*leads.borrow_and_update() {
            return;
        }
    }
}

async fn reconcile(
    client: Client,
    settings: Arc<Settings>,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let cluster = facts(&client).await;
    let mut scopes = JoinSet::new();
    for namespace in settings.scopes() {
        let (settings, cluster) = (settings.clone(), cluster.clone());
        scopes.spawn(controller::run(
            client.clone(),
            namespace,
            settings,
            cluster,
            metrics.clone(),
            health.clone(),
            stop.clone(),
        ));
    }
    match scopes.join_next().await {
        Some(Ok(Ok(()))) if stop.is_cancelled() => Ok(()),
        Some(Ok(Ok(()))) | None => Err(StartError::Task("a controller ended".into())),
        Some(Ok(Err(error))) => Err(error.into()),
        Some(Err(panic)) => Err(StartError::Task(panic.to_string())),
    }
}

/// Facts for events and status; none of them is needed to reconcile.
async fn facts(client: &Client) -> ClusterFacts {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let id = tokio::time::timeout(CONNECT_TIMEOUT, namespaces.get_opt("kube-system")).await;
    let version = tokio::time::timeout(CONNECT_TIMEOUT, client.apiserver_version()).await;
    ClusterFacts {
        id: id.ok().and_then(Result::ok).flatten().and_then(|namespace| namespace.metadata.uid),
        version: version.ok().and_then(Result::ok).map(|version| version.git_version),
    }
}
