//! From flags to running controllers: client, leader election, shutdown.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::client::{ClientBuilder, DynBody};
use kube::{Api, Client, Config};
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::util::MapResponseLayer;
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
/// A renewal that takes longer is tried again: on a connection that died it would take until another leads.
const LEASE_READ_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two tries to learn what is needed at the start.
const ASK_AGAIN: Duration = Duration::from_secs(1);
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
    Ok(Client::try_from(config(CONNECT_TIMEOUT, READ_TIMEOUT).await?)?)
}

async fn config(connect: Duration, read: Duration) -> Result<Config, StartError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(connect);
    config.read_timeout = Some(read);
    Ok(config)
}

/// When the API server last took a request about the lease.
#[derive(Clone)]
struct Renewed(Arc<Mutex<Instant>>);

impl Renewed {
    /// A client whose answers are noted.
    async fn client() -> Result<(Client, Self), StartError> {
        let renewed = Self(Arc::new(Mutex::new(Instant::now())));
        let note = renewed.clone();
        let layer = MapResponseLayer::new(move |response: http::Response<Box<DynBody>>| {
            if response.status().is_success() {
                *note.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            }
            response
        });
        let config = config(LEASE_READ_TIMEOUT, LEASE_READ_TIMEOUT).await?;
        Ok((ClientBuilder::try_from(config)?.with_layer(&layer).build(), renewed))
    }

    /// Ends when the lease must have expired, whatever its manager believes: others may lead from then on.
    async fn expired(&self) {
        let limit = Duration::from_secs(LEASE_SECONDS);
        loop {
            let renewed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let left = limit.saturating_sub(renewed.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
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
    let (lease_client, renewed) = Renewed::client().await?;
    let lease = LeaseManagerBuilder::new(lease_client, &settings.lease_name)
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
        () = renewed.expired() => Err(StartError::LeaseLost),
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
    let Some(cluster) = stop.run_until_cancelled(facts(&client)).await else { return Ok(()) };
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
    while let Some(ended) = scopes.join_next().await {
        match ended {
            // At a stop each finishes what it has begun.
            Ok(Ok(())) if stop.is_cancelled() => {}
            Ok(Ok(())) => return Err(StartError::Task("a controller ended".into())),
            Ok(Err(error)) => return Err(error.into()),
            Err(panic) => return Err(StartError::Task(panic.to_string())),
        }
    }
    Ok(())
}

/// Facts for events and status. They are in what is rendered: unknown for once, every configuration would be written anew,
/// and again at the next start, so that they are asked for until there is an answer.
async fn facts(client: &Client) -> ClusterFacts {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let id = answered("namespace kube-system", || namespaces.get_opt("kube-system")).await;
    let version = answered("version", || client.apiserver_version()).await;
    ClusterFacts {
        id: id.flatten().and_then(|namespace| namespace.metadata.uid),
        version: version.map(|version| version.git_version),
    }
}

/// The answer of the API server; `None` where the operator may not ask.
async fn answered<T, F>(what: &str, ask: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = kube::Result<T>>,
{
    loop {
        match tokio::time::timeout(CONNECT_TIMEOUT, ask()).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => return None,
            Ok(Err(error)) => tracing::warn!(what, %error, "the API server does not answer; it is asked again"),
            Err(_) => tracing::warn!(what, "no answer from the API server in time; it is asked again"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}
