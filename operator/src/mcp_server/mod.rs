//! The McpServer controller, in five steps: dereference, validate, build, apply, status.

mod build;
mod dereference;
mod health;
pub mod status;
mod validate;

use std::time::Instant;

use crds::McpServer;
use crds::mcp_server::McpServerStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::audit::{Round, Subject, server_changes};
use crate::child::{Applied, Applier, ApplyError, Child, ChildStore, Prepared, Written};
use crate::conditions::{Conditions, Problem};
use crate::notices::Notices;
use crate::pool::Error;
use crate::pool::status::{endpoint, trouble};
use crate::retry;
use crate::status::StatusError;
use crate::world::Scope;

pub use build::{ServerResources, build};
pub use dereference::references as read_references;
pub use health::{Health, health};
pub use validate::{
    Credential, Fault, Outbound, Programmed, References, collisions, secret_names, validate as validate_server,
};

/// Brings one McpServer to its desired state.
///
/// # Errors
/// See `Error`.
pub async fn reconcile(guard: &DeserializeGuard<McpServer>, scope: &Scope, notices: &Notices) -> Result<Action, Error> {
    let (now, started) = (Time(jiff::Timestamp::now()), Instant::now());
    let server = match &guard.0 {
        Ok(server) => server,
        Err(invalid) => return malformed(guard, &invalid.error, scope, now).await,
    };
    if server.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let previous = scope.status.newest(server, server.status.as_ref());
    let namespace = server.namespace().unwrap_or_default();

    // 1. dereference: the pool, its other servers, Secrets and certificates
    let found = dereference::dereference(server, scope).await?;
    let pool = found.pool.as_ref().and_then(|guard| guard.0.as_ref().ok());
    // 2. validate: what keeps the server out of its pool
    let pool_uid = pool.and_then(ResourceExt::uid).unwrap_or_default();
    let fault = fault(server, &found).or_else(|| scope.armor.left_out(&pool_uid, &server.name_any()));
    // 3. build: a server without a pool keeps what it has, and gets nothing new
    let policies = pool.is_none_or(|pool| pool.spec.network_policy.enabled);
    let accepted = !matches!(fault, Some(Fault::NotAccepted(_)));
    let resources = if accepted { build(server, policies, &scope.settings)? } else { None };
    // 4. apply
    let paused = pool.is_some_and(|pool| pool.spec.paused);
    let (applied, mut errors) = match resources {
        Some(resources) if paused => (Some(observe(resources, &scope.children)), Vec::new()),
        Some(resources) => {
            let (applied, errors) = apply(resources, &scope.applier, &scope.children).await;
            (Some(applied), errors)
        }
        None => (None, Vec::new()),
    };
    if accepted && !paused && errors.is_empty() {
        let keep = applied.as_ref().map(ServerResources::keys).unwrap_or_default();
        errors.extend(scope.applier.prune(&server.uid().unwrap_or_default(), &keep).await.err());
    }
    // 5. status: what the gateways say, not what was written
    let pods = scope.pods.collect(|(ns, _), pod| {
        (*ns == namespace && pod.component.as_ref() == "mcp-server" && *pod.instance == *server.name_any())
            .then(|| pod.clone())
    });
    let replicas = scope.armor.replicas(&pool_uid);
    let facts = status::Facts {
        server,
        previous: &previous,
        now: now.clone(),
        fault: fault.as_ref(),
        resources: applied.as_ref(),
        errors: &errors,
        trouble: trouble(&pods, "mcp-server"),
        replicas: replicas.as_ref(),
        programmed: scope.armor.is_programmed(
            &pool_uid,
            &server.name_any(),
            &server.uid().unwrap_or_default(),
            server.metadata.generation.unwrap_or_default(),
        ),
        endpoint: pool.map(endpoint),
    };
    let (status, timer) = status::status(&facts);
    notices.server(server, &previous.conditions, &status.conditions).await;
    let unfinished = errors.iter().any(ApplyError::is_transient);
    let uid = server.uid().unwrap_or_default();
    let written = if unfinished { Written::default() } else { scope.applier.take_written(&uid) };
    let children = applied.as_ref().map_or(0, |applied| applied.keys().len());
    let round = Round { written, children, unfinished, ..Round::of_nothing(&now, started.elapsed()) };
    conclude(scope, server, &previous, status, round).await?;
    if fault.is_some() && errors.is_empty() {
        return Ok(retry::known_cause());
    }
    retry::after(errors, timer).map_err(Error::from)
}

/// Writes the status, and tells the pool's trail what changed with it.
async fn conclude(
    scope: &Scope,
    server: &McpServer,
    previous: &McpServerStatus,
    status: McpServerStatus,
    round: Round<'_>,
) -> Result<(), StatusError> {
    let (uid, name) = (server.uid().unwrap_or_default(), server.name_any());
    let id = scope.pool_id(&server.namespace().unwrap_or_default(), &server.spec.pool_ref.name);
    let pool = id.as_ref().map_or("", |id| &id.uid);
    let subject = Subject { pool, uid: &uid, generation: server.metadata.generation.unwrap_or(0) };
    let round = Round { subject, name: &name, untold: scope.trail.is_untold(&uid), ..round };
    let changes = server_changes(&round, previous, &status);
    let told = id.map(|id| (id, changes)).into_iter().collect();
    scope.trail.conclude(&scope.status, server, "McpServer", previous, status, told).await
}

fn fault(server: &McpServer, found: &dereference::Dereferenced) -> Option<Fault> {
    let name = &server.spec.pool_ref.name;
    match found.pool.as_ref().map(|guard| guard.0.is_ok()) {
        Some(true) => {}
        Some(false) => {
            let message = format!(
                "spec.poolRef.name: Pool {name} does not fit its schema: correct it with `kubectl edit pool {name}`"
            );
            return Some(Fault::NotAccepted(Problem::new("PoolMalformed", message)));
        }
        None => {
            let message =
                format!("spec.poolRef.name: there is no Pool {name} in this namespace: create it, or correct the name");
            return Some(Fault::NotAccepted(Problem::new("PoolNotFound", message)));
        }
    }
    let siblings: Vec<&McpServer> = found.siblings.iter().filter_map(|guard| guard.0.as_ref().ok()).collect();
    if let Some(problem) = collisions(&siblings).remove(&server.name_any()) {
        return Some(Fault::NotAccepted(problem));
    }
    validate_server(server, &found.references).err()
}

async fn apply(
    resources: ServerResources<Prepared>,
    applier: &Applier,
    store: &ChildStore,
) -> (ServerResources<Applied>, Vec<ApplyError>) {
    let ServerResources { account, network_policy, service, deployment } = resources;
    let mut errors = Vec::new();
    let mut one = async |child: Child<Prepared>| match applier.apply(child.clone()).await {
        Ok(applied) => applied,
        Err(error) => {
            errors.push(error);
            child.observed_only(store)
        }
    };
    // The account and the policy come before the Pods that run as it and are protected by it.
    let account = match account {
        Some(account) => Some(one(account).await),
        None => None,
    };
    let network_policy = match network_policy {
        Some(policy) => Some(one(policy).await),
        None => None,
    };
    let service = one(service).await;
    let deployment = one(deployment).await;
    (ServerResources { account, network_policy, service, deployment }, errors)
}

fn observe(resources: ServerResources<Prepared>, store: &ChildStore) -> ServerResources<Applied> {
    ServerResources {
        account: resources.account.map(|child| child.observed_only(store)),
        network_policy: resources.network_policy.map(|child| child.observed_only(store)),
        service: resources.service.observed_only(store),
        deployment: resources.deployment.observed_only(store),
    }
}

impl<S> ServerResources<S> {
    fn children(&self) -> impl Iterator<Item = &Child<S>> {
        let ServerResources { account, network_policy, service, deployment } = self;
        account.iter().chain(network_policy).chain([service, deployment])
    }
}

impl ServerResources<Prepared> {
    /// The desired bodies, for golden files.
    pub fn manifests(&self) -> Vec<serde_json::Value> {
        self.children().map(Child::manifest).collect()
    }
}

impl ServerResources<Applied> {
    fn keys(&self) -> Vec<crate::child::ChildKey> {
        self.children().map(|child| child.key.clone()).collect()
    }
}

async fn malformed(
    guard: &DeserializeGuard<McpServer>,
    error: &str,
    scope: &Scope,
    now: Time,
) -> Result<Action, Error> {
    let meta = guard.meta();
    tracing::warn!(namespace = meta.namespace, name = meta.name, error, "the McpServer does not fit its schema");
    let stand_in = McpServer { metadata: meta.clone(), spec: crds::McpServerSpec::default(), status: None };
    let previous: McpServerStatus = scope.status_of_unreadable("McpServer", &stand_in).await?;
    let mut conditions = Conditions::new(&previous.conditions, meta.generation, now);
    let problem = Problem::new(
        "Malformed",
        format!("the object does not fit its schema: {error}: correct it with `kubectl edit`"),
    );
    conditions.set_outcome("Accepted", Some(&problem), "", "");
    conditions.set_outcome("Ready", Some(&problem), "", "");
    conditions.keep_rest();
    let status =
        McpServerStatus { observed_generation: meta.generation, conditions: conditions.finish(), ..previous.clone() };
    scope.status.write(&stand_in, "McpServer", &previous, status).await?;
    Ok(retry::known_cause())
}
