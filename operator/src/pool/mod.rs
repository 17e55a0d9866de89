//! The Pool controller, in five steps: dereference, validate, build, apply, status.

mod api_keys;
mod apply;
mod build;
mod dereference;
pub mod status;
pub mod validate;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crds::Pool;
use crds::pool::PoolStatus;
use crds::status::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use thiserror::Error;

use crate::armor::Desired;
use crate::audit::{PoolId, Round, Subject, pool_changes};
use crate::child::{Applied, ApplyError, Kind, Written};
use crate::exporter;
use crate::notices::Notices;
use crate::retry;
use crate::status::StatusError;
use crate::world::{ReadError, Scope};

pub use apply::observe;
pub use build::{
    Configuration, ExporterResources, PoolResources, build, configuration, configure, exporter_credentials,
};
pub(crate) use build::{ingress_policy, pods, rule};
use dereference::own_child;
pub use dereference::{Dereferenced, LiveRedis, dereference, references_of};

/// Why a reconcile has to be tried again soon. What a user has to mend is a condition, and no error.
#[derive(Debug, Error)]
pub enum Error {
    /// A reference could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An object could not be written as JSON.
    #[error("a child can not be rendered: {0}")]
    Render(#[from] serde_json::Error),
    /// A child could not be written now.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The status could not be written now.
    #[error(transparent)]
    Status(#[from] StatusError),
}

impl Error {
    /// The metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Read(_) => "ReferenceUnreadable",
            Error::Render(_) => "RenderFailed",
            Error::Apply(error) => error.reason(),
            Error::Status(_) => "StatusNotWritten",
        }
    }
}

/// Brings one Pool to its desired state.
///
/// # Errors
/// See `Error`.
pub async fn reconcile(guard: &DeserializeGuard<Pool>, scope: &Scope, notices: &Notices) -> Result<Action, Error> {
    let (now, started) = (Time(jiff::Timestamp::now()), Instant::now());
    let pool = match &guard.0 {
        Ok(pool) => pool,
        Err(invalid) => return malformed(guard, &invalid.error, scope, now).await,
    };
    if pool.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let previous = scope.status.newest(pool, pool.status.as_ref());
    let facts = status::Facts {
        pool,
        previous: &previous,
        now: now.clone(),
        settings: &scope.settings,
        cluster: &scope.cluster,
    };

    // 1. dereference: read what the spec points at
    let found = dereference(pool, scope).await?;
    // 2. validate: from here on only typed values
    let outcome = match validate::validate(pool, &found) {
        Ok(outcome) => outcome,
        Err(fault) => {
            // What runs goes on, and so does the look at it.
            let live = live(pool, scope, &previous);
            if let Some(desired) = &live.desired {
                scope.armor.want_if_unknown(&pool.uid().unwrap_or_default(), desired);
            }
            let exporter = live.exporter.as_ref().map(|(_, desired)| desired);
            expect_exporter(scope, pool, exporter, Sure::No);
            let status = status::refused(&facts, &fault, &live);
            notices.pool(pool, &previous, &status).await;
            conclude(scope, pool, &previous, status, Round::of_nothing(&now, started.elapsed())).await?;
            return Ok(retry::known_cause());
        }
    };
    // 3. build: the desired children
    let configuration = configure(&outcome.pool, &scope.cluster)?;
    let resources = build(&outcome.pool, &configuration, &scope.settings)?;
    // 4. apply: the only writes of children
    let uid = pool.uid().unwrap_or_default();
    let (applied, mut errors) = if pool.spec.paused {
        (apply::observe(resources, &scope.children), Vec::new())
    } else {
        apply::apply(resources, &scope.applier, &scope.children).await
    };
    // What only monitors the pool holds nothing back.
    let failed = errors.iter().any(|error| error.key().kind != Kind::PodMonitor);
    if !pool.spec.paused && !failed {
        errors.extend(scope.applier.prune(&uid, &applied.keys()).await.err());
    }
    let desired = match pool.spec.paused {
        // Nothing was written, so that nothing else than before can be expected.
        true => live(pool, scope, &previous).desired,
        false => desired(&found, &outcome, &configuration, &applied),
    };
    if pool.spec.paused {
        if let Some(desired) = &desired {
            scope.armor.want_if_unknown(&uid, desired);
        }
    } else if desired.as_ref().is_some_and(|desired| scope.armor.want(&uid, desired.clone())) {
        scope.wake.servers_of(&outcome.pool.owner.namespace, &outcome.pool.name);
    }
    let exporter = match pool.spec.paused {
        true => live(pool, scope, &previous).exporter.map(|(_, desired)| desired),
        false => exporter_desired(&found, &outcome, &configuration, &applied),
    };
    let sure = match &exporter {
        Some(_) if pool.spec.paused => Sure::No,
        // One that could not be made now may be there nevertheless.
        None if failed => Sure::No,
        _ => Sure::Yes,
    };
    expect_exporter(scope, pool, exporter.as_ref(), sure);
    // 5. status: computed from what was applied
    let pods = scope.pods.collect(|(namespace, _), pod| {
        (*namespace == outcome.pool.owner.namespace && pod.pool.as_ref() == outcome.pool.name).then(|| pod.clone())
    });
    let default_class = scope
        .storage_classes
        .is_ready()
        .then(|| !scope.storage_classes.collect(|_, default| default.then_some(())).is_empty());
    let replicas = scope.armor.replicas(&uid);
    let exporters = scope.exporter.replicas(&uid);
    let built = status::Built {
        outcome: &outcome,
        configuration: &configuration,
        resources: &applied,
        errors: &errors,
        replicas: replicas.as_ref(),
        desired: desired.as_ref(),
        exporters: exporter.as_ref().zip(exporters.as_ref()),
        pod_monitors_served: scope.children.is_served(Kind::PodMonitor),
        pods: &pods,
        default_storage_class: default_class,
    };
    let (status, timer) = status::settled(&facts, &built);
    notices.pool(pool, &previous, &status).await;
    let unfinished = errors.iter().any(ApplyError::is_transient);
    let written = if unfinished { Written::default() } else { scope.applier.take_written(&uid) };
    let children = applied.keys().len();
    let round = Round { written, children, unfinished, ..Round::of_nothing(&now, started.elapsed()) };
    conclude(scope, pool, &previous, status, round).await?;
    retry::after(errors, timer).map_err(Error::from)
}

/// Whether what is said of a pool's exporter holds, or only where nothing is known yet.
#[derive(Clone, Copy)]
enum Sure {
    Yes,
    No,
}

/// Says which exporter the pool has, if one, to who asks them.
fn expect_exporter(scope: &Scope, pool: &Pool, desired: Option<&exporter::Desired>, sure: Sure) {
    let uid = pool.uid().unwrap_or_default();
    let news = match (desired, sure) {
        (Some(desired), Sure::Yes) => scope.exporter.want(&uid, desired.clone()),
        (Some(desired), Sure::No) => {
            scope.exporter.want_if_unknown(&uid, desired);
            false
        }
        (None, Sure::Yes) => scope.exporter.has_none(&uid),
        (None, Sure::No) => scope.exporter.has_none_if_unknown(&uid),
    };
    if news {
        scope.wake.exports_of(&pool.namespace().unwrap_or_default(), &pool.name_any(), pool.labels());
    }
}

/// Writes the status, and tells what changed with it.
async fn conclude(
    scope: &Scope,
    pool: &Pool,
    previous: &PoolStatus,
    status: PoolStatus,
    round: Round<'_>,
) -> Result<(), StatusError> {
    let uid = pool.uid().unwrap_or_default();
    let id = PoolId { uid, namespace: pool.namespace().unwrap_or_default(), name: pool.name_any() };
    let subject = Subject { pool: &id.uid, uid: &id.uid, generation: pool.metadata.generation.unwrap_or(0) };
    let round = Round { subject, name: &id.name, untold: scope.trail.is_untold(&id.uid), ..round };
    let changes = pool_changes(&round, previous, &status);
    scope.trail.conclude(&scope.status, pool, "Pool", previous, status, [(id.clone(), changes)].into()).await
}

/// What the gateways should run, once the Secret with their admin token exists.
fn desired(
    found: &Dereferenced,
    outcome: &validate::Outcome,
    configuration: &Configuration,
    applied: &PoolResources<Applied>,
) -> Option<Desired> {
    let pool = &outcome.pool;
    let admin = applied.generated.first()?;
    let rendered = |name: &str| pool.servers.iter().any(|server| server.name == name);
    let servers = found.servers.iter().filter_map(|(guard, _)| {
        let name = guard.name_any();
        rendered(&name).then(|| version(guard.as_ref()))
    });
    Some(Desired {
        namespace: pool.owner.namespace.clone(),
        pool: pool.name.clone(),
        revision: configuration.revision.clone(),
        credentials: pool.credentials_revision(),
        admin_secret: (admin.key.name.clone(), admin.uid()?.to_owned()),
        servers: servers.collect(),
        left_out: outcome.left_out.clone(),
    })
}

/// What the exporters should run, once the Secret with their token exists.
fn exporter_desired(
    found: &Dereferenced,
    outcome: &validate::Outcome,
    configuration: &Configuration,
    applied: &PoolResources<Applied>,
) -> Option<exporter::Desired> {
    let (document, resources) = (configuration.exporter.as_ref()?, applied.exporter.as_ref()?);
    Some(exporter::Desired {
        namespace: outcome.pool.owner.namespace.clone(),
        pool: outcome.pool.name.clone(),
        revision: Some(document.revision.clone()),
        credentials: exporter_credentials(&outcome.pool),
        admin_secret: (resources.admin.key.name.clone(), resources.admin.uid()?.to_owned()),
        exports: found.exports.iter().map(|(guard, _)| version(guard.as_ref())).collect(),
    })
}

/// Which version of an object there is, by name.
fn version(object: &impl ResourceExt) -> (String, (String, i64)) {
    (object.name_any(), (object.uid().unwrap_or_default(), object.meta().generation.unwrap_or_default()))
}

/// The generation that an object says is in the configuration. The one that its status is of may be newer, where the
/// condition was kept because nobody had asked yet.
fn programmed_generation(conditions: &[Condition]) -> Option<i64> {
    let programmed = conditions.iter().find(|condition| condition.type_ == "Programmed")?;
    programmed.observed_generation.filter(|_| programmed.status == "True")
}

/// What there is of a pool whose spec is not applied, as the watches and the last status tell.
fn live(pool: &Pool, scope: &Scope, previous: &PoolStatus) -> status::Live {
    let (namespace, name) = (pool.namespace().unwrap_or_default(), pool.name_any());
    let child = |kind: Kind, suffix: &str| own_child(pool, scope, kind, suffix);
    let admin = child(Kind::Secret, "armor-admin").map(|(key, secret)| (key.name, secret.uid));
    // A server that says that it is in the configuration is in the one that runs.
    let servers = scope.servers_of(&namespace, &name).into_iter().filter_map(|guard| {
        let server = guard.0.as_ref().ok()?;
        let status = scope.status.newest(server, server.status.as_ref());
        let (name, (uid, _)) = version(server);
        Some((name, (uid, programmed_generation(&status.conditions)?)))
    });
    let desired = previous.config_hash.clone().zip(admin).map(|(revision, admin_secret)| Desired {
        namespace: namespace.clone(),
        pool: name.clone(),
        revision,
        credentials: None,
        admin_secret,
        servers: servers.collect(),
        left_out: BTreeMap::new(),
    });
    let exports = scope.exports_of(&namespace, &name, pool.labels()).into_iter().filter_map(|guard| {
        let export = guard.0.as_ref().ok()?;
        let status = scope.status.newest(export, export.status.as_ref());
        let (name, (uid, _)) = version(export);
        Some((name, (uid, programmed_generation(&status.conditions)?)))
    });
    let exporter_admin = child(Kind::Secret, "exporter-admin").map(|(key, secret)| (key.name, secret.uid));
    let exporter = exporter_admin.map(|admin_secret| exporter::Desired {
        namespace: namespace.clone(),
        pool: name.clone(),
        revision: None,
        credentials: None,
        admin_secret,
        exports: exports.collect(),
    });
    let workload = |kind: Kind, suffix: &str| child(kind, suffix).and_then(|(_, child)| child.workload);
    status::Live {
        exporter: workload(Kind::Deployment, "exporter").zip(exporter),
        armor: workload(Kind::Deployment, "armor").unwrap_or_default(),
        redis: workload(Kind::StatefulSet, "redis"),
        pods: scope.pods.collect(|(ns, _), pod| (*ns == namespace && *pod.pool == *name).then(|| pod.clone())),
        desired,
    }
}

async fn malformed(guard: &DeserializeGuard<Pool>, error: &str, scope: &Scope, now: Time) -> Result<Action, Error> {
    let meta = guard.meta();
    tracing::warn!(namespace = meta.namespace, name = meta.name, error, "the Pool does not fit its schema");
    // The spec is left out: a status patch needs none, and this one can not be read.
    let stand_in = Pool { metadata: meta.clone(), spec: crds::PoolSpec::default(), status: None };
    let previous = scope.status_of_unreadable("Pool", &stand_in).await?;
    let status = status::malformed(meta.generation, &previous, error, now.clone());
    let round = Round::of_nothing(&now, Duration::ZERO);
    conclude(scope, &stand_in, &previous, status, round).await?;
    Ok(retry::known_cause())
}
