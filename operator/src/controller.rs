//! Runs the controllers of one scope: watches first, then both queues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::{McpServer, Pool, SiemExport};
use events::ResourceKind;
use futures::{FutureExt, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, applier};
use kube::runtime::reflector::store;
use kube::{Client, Resource, ResourceExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::armor::{ArmorView, Observer};
use crate::audit::{Limits, PoolId, Trail, deliver};
use crate::child::{Applier, ChildStore};
use crate::exporter::PoolExporters;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::notices::Notices;
use crate::pool::Error;
use crate::retry::Backoff;
use crate::settings::Settings;
use crate::status::StatusWriter;
use crate::world::{Cache, ClusterFacts, Materials, Receivers, Scope, Wake, queue};
use crate::{mcp_server, pool, references, siem_export, world};

/// How often what is not needed any more is forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(300);
/// How often statuses that were written are forgotten: there may be one for each object.
const SWEEP: Duration = Duration::from_secs(30);
/// Changes within this time of each other are one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(20);

struct Context {
    scope: Arc<Scope>,
    notices: Notices,
    backoff: Backoff,
}

/// Builds a scope and runs it until `stop`, or until one of its tasks ends.
///
/// # Errors
/// When the HTTP client for Armor and the exporter can not be set up.
pub async fn run(
    client: Client,
    namespace: Option<String>,
    settings: Arc<Settings>,
    cluster: ClusterFacts,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) -> Result<(), reqwest::Error> {
    let (pools, pool_writer) = store();
    let (servers, server_writer) = store();
    let (exports, export_writer) = store();
    let (wake, receivers) = Wake::channel(pools.clone(), servers.clone(), exports.clone());
    let children = Arc::new(ChildStore::default());
    let pods = Arc::new(Cache::default());
    let armor = Arc::new(ArmorView::default());
    let observer = Observer::new(client.clone(), armor.clone(), pods.clone(), wake.clone(), metrics.clone())?;
    let exporter = Arc::new(PoolExporters::new(client.clone(), pods.clone(), wake.clone(), metrics.clone())?);
    let trail = Trail::new(&settings.pod_name, cluster.id.as_deref(), Limits::default(), metrics.clone());
    let trail = Arc::new(trail);
    let scope = Arc::new(Scope {
        namespace,
        settings: settings.clone(),
        pools,
        servers,
        exports,
        applier: Applier::new(client.clone(), children.clone(), metrics.clone()),
        children,
        pods,
        secrets: Cache::default(),
        config_maps: Cache::default(),
        storage_classes: Cache::default(),
        materials: Materials::new(client.clone()),
        armor,
        exporter,
        status: StatusWriter::new(client.clone(), metrics.clone()),
        trail: trail.clone(),
        wake,
        metrics,
        cluster,
        client: client.clone(),
    });
    let mut watches = JoinSet::new();
    world::run(&scope, pool_writer, server_writer, export_writer, &mut watches);
    let context = Arc::new(Context {
        scope: scope.clone(),
        notices: Notices::new(client, &settings.pod_name),
        backoff: Backoff::default(),
    });
    tokio::select! {
        () = ready(&scope, &health) => {}
        () = stop.cancelled() => return Ok(()),
    }
    // Ends after everything that tells events has ended.
    let told = CancellationToken::new();
    let mut delivery = JoinSet::new();
    delivery.spawn(deliver(trail, scope.exporter.clone(), told.clone()));
    // At a stop the queues end by themselves, after what they have begun.
    let mut queues = Box::pin(queues(context.clone(), receivers, settings.concurrency, &stop));
    tokio::select! {
        () = &mut queues => {}
        () = housekeeping(&context) => {}
        // Both end at a stop alone.
        () = observer.run(stop.clone()) => queues.await,
        () = scope.exporter.run(stop.clone()) => queues.await,
        Some(_) = watches.join_next() => tracing::error!("a watch ended"),
        Some(_) = delivery.join_next() => tracing::error!("the delivery of audit events ended"),
    }
    drop(watches);
    told.cancel();
    while delivery.join_next().await.is_some() {}
    Ok(())
}

/// Forgets what belonged to objects that are gone, above all the values of Secrets that no spec names any more.
async fn housekeeping(context: &Context) {
    let (mut often, mut seldom) = (tokio::time::interval(SWEEP), tokio::time::interval(HOUSEKEEPING));
    loop {
        tokio::select! {
            _ = often.tick() => {
                context.scope.status.sweep();
                continue;
            }
            _ = seldom.tick() => {}
        }
        context.backoff.sweep();
        context.scope.applier.sweep();
        let named = references::all(&context.scope);
        let is_named =
            |source, namespace: &str, name: &str| named.contains(&(source, namespace.to_owned(), name.to_owned()));
        context.scope.materials.retain(is_named).await;
    }
}

/// Waits until every cache holds its first list, saying on `/readyz` which are missing.
async fn ready(scope: &Scope, health: &Health) {
    let name = scope.namespace.clone().unwrap_or_else(|| "all namespaces".into());
    let mut look = tokio::time::interval(Duration::from_millis(20));
    loop {
        look.tick().await;
        let mut pending = scope.pending();
        let stores = [
            ("Pool", scope.pools.wait_until_ready().now_or_never().is_some()),
            ("McpServer", scope.servers.wait_until_ready().now_or_never().is_some()),
            ("SiemExport", scope.exports.wait_until_ready().now_or_never().is_some()),
        ];
        pending.extend(stores.iter().filter(|(_, ready)| !ready).map(|(kind, _)| (*kind).to_owned()));
        health.waiting_for(&name, pending.clone());
        if pending.is_empty() {
            return;
        }
    }
}

async fn queues(context: Arc<Context>, receivers: Receivers, concurrency: u16, stop: &CancellationToken) {
    let Receivers { pools, servers, exports } = receivers;
    let config = Config::default().concurrency(concurrency).debounce(DEBOUNCE);
    let pool_stream = applier(
        |object: Arc<DeserializeGuard<Pool>>, context: Arc<Context>| Box::pin(reconcile_pool(object, context)),
        |object, error: &Error, context: Arc<Context>| on_error("Pool", &*object, error, &context),
        context.clone(),
        context.scope.pools.clone(),
        queue(pools).take_until(stop.clone().cancelled_owned()),
        config.clone(),
    );
    let server_stream = applier(
        |object: Arc<DeserializeGuard<McpServer>>, context: Arc<Context>| Box::pin(reconcile_server(object, context)),
        |object, error: &Error, context: Arc<Context>| on_error("McpServer", &*object, error, &context),
        context.clone(),
        context.scope.servers.clone(),
        queue(servers).take_until(stop.clone().cancelled_owned()),
        config.clone(),
    );
    let export_stream = applier(
        |object: Arc<DeserializeGuard<SiemExport>>, context: Arc<Context>| Box::pin(reconcile_export(object, context)),
        |object, error: &Error, context: Arc<Context>| on_error("SiemExport", &*object, error, &context),
        context.clone(),
        context.scope.exports.clone(),
        queue(exports).take_until(stop.clone().cancelled_owned()),
        config,
    );
    // Failures were logged with their object by `on_error`; what is left are objects that vanished while queued.
    let drain = |result: Result<_, _>| {
        if let Err(error) = result {
            let error: kube::runtime::controller::Error<Error, std::convert::Infallible> = error;
            tracing::debug!(%error, "reconcile");
        }
        std::future::ready(())
    };
    let pools = pool_stream.map(|result| result.map(drop)).for_each(drain);
    let servers = server_stream.map(|result| result.map(drop)).for_each(drain);
    let exports = export_stream.map(|result| result.map(drop)).for_each(drain);
    futures::future::join3(pools, servers, exports).await;
}

async fn reconcile_pool(object: Arc<DeserializeGuard<Pool>>, context: Arc<Context>) -> Result<Action, Error> {
    let span = tracing::info_span!(
        "reconcile",
        kind = "Pool",
        namespace = object.namespace(),
        name = object.name_any(),
        generation = object.meta().generation
    );
    let started = Instant::now();
    let result = pool::reconcile(&object, &context.scope, &context.notices).instrument(span).await;
    let pools = || {
        let pool = context.scope.pool_id(&object.namespace().unwrap_or_default(), &object.name_any());
        pool.into_iter().collect()
    };
    finished(ResourceKind::Pool, &*object, &result, started, &context, pools);
    result
}

async fn reconcile_server(object: Arc<DeserializeGuard<McpServer>>, context: Arc<Context>) -> Result<Action, Error> {
    let span = tracing::info_span!(
        "reconcile",
        kind = "McpServer",
        namespace = object.namespace(),
        name = object.name_any(),
        generation = object.meta().generation
    );
    let started = Instant::now();
    let result = mcp_server::reconcile(&object, &context.scope, &context.notices).instrument(span).await;
    let pools = || {
        let server = object.0.as_ref().ok();
        let pool = server.and_then(|server| {
            context.scope.pool_id(&server.namespace().unwrap_or_default(), &server.spec.pool_ref.name)
        });
        pool.into_iter().collect()
    };
    finished(ResourceKind::McpServer, &*object, &result, started, &context, pools);
    result
}

async fn reconcile_export(object: Arc<DeserializeGuard<SiemExport>>, context: Arc<Context>) -> Result<Action, Error> {
    let span = tracing::info_span!(
        "reconcile",
        kind = "SiemExport",
        namespace = object.namespace(),
        name = object.name_any(),
        generation = object.meta().generation
    );
    let started = Instant::now();
    let result = siem_export::reconcile(&object, &context.scope, &context.notices).instrument(span).await;
    let pools = || object.0.as_ref().map(|export| context.scope.pools_of(export)).unwrap_or_default();
    finished(ResourceKind::SiemExport, &*object, &result, started, &context, pools);
    result
}

fn finished<K: ResourceExt>(
    kind: ResourceKind,
    object: &K,
    result: &Result<Action, Error>,
    started: Instant,
    context: &Context,
    pools: impl FnOnce() -> Vec<PoolId>,
) {
    let (took, trail) = (started.elapsed(), &context.scope.trail);
    let outcome = result.as_ref().err().map_or("ok", Error::reason);
    context.scope.metrics.reconciled(kind.as_str(), outcome, took);
    match result {
        Ok(_) => {
            let uid = object.uid().unwrap_or_default();
            context.backoff.succeeded(&uid);
            trail.succeeded(&uid);
        }
        Err(error) => trail.failed(kind, object, &pools(), error.reason(), took),
    }
}

fn on_error<K: ResourceExt>(kind: &'static str, object: &K, error: &Error, context: &Context) -> Action {
    let wait = context.backoff.failed(&object.uid().unwrap_or_default());
    let (namespace, name) = (object.namespace(), object.name_any());
    tracing::warn!(kind, namespace, name, reason = error.reason(), %error, retry_in_s = wait.as_secs_f32(), "reconcile failed");
    Action::requeue(wait)
}
