//! The two phases: the raw creator and the operator, each on a control plane of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bench::say;
use crds::Pool;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::Flags;
use crate::control_plane::{ControlPlane, Counts};
use crate::creator;
use crate::desired::{self, NAMESPACE};
use crate::pools::{Eyes, Settled};
use crate::process::{Memory, Operator, Program};

/// Without writes for this long, everybody is done.
const QUIET: Duration = Duration::from_secs(10);
/// Longest wait for one child to be written.
const CHILD_TIMEOUT: Duration = Duration::from_secs(60);

/// Time and CPU of the API server that a step took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Wall clock.
    pub time: Duration,
    /// Seconds of CPU.
    pub cpu: f64,
}

/// What the raw creator needs.
pub struct Creator {
    /// Children per pool.
    pub children: usize,
    /// To make every child.
    pub cold: Cost,
    /// To make every child and until the controllers have reacted to all.
    pub cold_controllers: Duration,
    /// To apply every child again unchanged.
    pub again: Cost,
}

/// What the operator needs.
pub struct Measured {
    /// From the first Pool until every status belongs to its spec.
    pub current: Duration,
    /// From the first Pool until the last status changed.
    pub cold: Cost,
    /// Requests meanwhile.
    pub cold_requests: Counts,
    /// Changes of a status meanwhile.
    pub status_changes: u64,
    /// Seconds of the operator's own CPU meanwhile.
    pub operator_cpu: f64,
    /// From the first Pool until nobody writes any more.
    pub cold_controllers: Duration,
    /// Memory then.
    pub memory: Memory,
    /// Requests while idle.
    pub idle_requests: Counts,
    /// Memory after that.
    pub idle_memory: Memory,
    /// From the start of the process until every Pool was reconciled.
    pub restart: Cost,
    /// Requests meanwhile.
    pub restart_requests: Counts,
    /// Memory then.
    pub restart_memory: Memory,
    /// From one edit to its child, sorted.
    pub edit_one: Vec<Duration>,
    /// From the first of all edits until the last status changed.
    pub edit_all: Cost,
    /// Requests meanwhile.
    pub edit_all_requests: Counts,
    /// The same edits, children and statuses written by the raw creator.
    pub edit_floor: Cost,
    /// The children of those alone.
    pub edit_children: Cost,
    /// Memory at the end of the operator.
    pub last_memory: Memory,
}

/// Phase A.
pub async fn creator(flags: &Flags) -> Result<Creator> {
    let plane = ControlPlane::up(&flags.work, "creator").await?;
    let client = plane.client("creator").await?;
    make_pools(&plane.admin, flags).await?;
    let mut bodies = Vec::new();
    for pool in list(&plane.admin).await? {
        bodies.extend(desired::children(&pool, &plane.cluster_id, &desired::settings()?)?);
    }
    let children = bodies.len() / flags.pools;
    plane.quiet(QUIET).await?;

    say!("creator: {} children of {} pools; load of the machine {}", bodies.len(), flags.pools, load()?);
    let begin = Instant::now();
    let cold = apply_all(&plane, &client, bodies.clone(), flags.workers).await?;
    let cold_controllers = plane.quiet(QUIET).await?.duration_since(begin);
    say!(
        "creator: {:.1} s, controllers done after {:.1} s; all of it again",
        cold.time.as_secs_f64(),
        cold_controllers.as_secs_f64()
    );
    let again = apply_all(&plane, &client, bodies, flags.workers).await?;
    say!("creator: {:.1} s", again.time.as_secs_f64());
    plane.down().await?;
    Ok(Creator { children, cold, cold_controllers, again })
}

/// Phase B.
pub async fn operator(flags: &Flags) -> Result<Measured> {
    let plane = ControlPlane::up(&flags.work, "operator").await?;
    let program = Program {
        binary: flags.operator.clone(),
        kubeconfig: plane.kubeconfig("operator"),
        log: flags.out.join("operator.log"),
    };
    let running = program.start().await?;
    let eyes = Eyes::open(&plane.admin);
    plane.quiet(QUIET).await?;

    say!("operator: {} pools; load of the machine {}", flags.pools, load()?);
    let (before, begin) = (plane.count().await?, Instant::now());
    make_pools(&plane.admin, flags).await?;
    let settled = eyes.settled(flags.pools, QUIET, |_| true).await?;
    let cold_requests = plane.count().await?.since(&before);
    let operator_cpu = running.cpu()?;
    let cold = Cost { time: settled.last - begin, cpu: cold_requests.cpu };
    let Settled { current, changes: status_changes, .. } = settled;
    let current = current - begin;
    say!(
        "operator: every status current after {:.1} s, the last one after {:.1} s",
        current.as_secs_f64(),
        cold.time.as_secs_f64()
    );
    let cold_controllers = plane.quiet(QUIET).await?.duration_since(begin);
    let memory = running.memory()?;

    say!("operator: idle for {:?}", flags.idle);
    let before = plane.count().await?;
    tokio::time::sleep(flags.idle).await;
    let idle_requests = plane.count().await?.since(&before);
    let idle_memory = running.memory()?;

    say!("operator: restart");
    running.stop().await?;
    let (before, begin) = (plane.count().await?, Instant::now());
    let mut running = program.start().await?;
    let reconciled = running.reconciled(flags.pools, QUIET).await?;
    let restart_requests = plane.count().await?.since(&before);
    let restart = Cost { time: reconciled - begin, cpu: restart_requests.cpu };
    let restart_memory = running.memory()?;

    say!("operator: edits; load of the machine {}", load()?);
    let edit_one = edit_one(&plane.admin, &eyes, flags).await?;
    let (edit_all, edit_all_requests) = edit_all(&plane, &eyes, flags).await?;
    running.reconciled(flags.pools, QUIET).await?;
    let last_memory = running.memory()?;
    drop(eyes);
    let (edit_floor, edit_children) = edit_floor(&plane, running, flags).await?;
    plane.down().await?;
    Ok(Measured {
        current,
        cold,
        cold_requests,
        status_changes,
        operator_cpu,
        cold_controllers,
        memory,
        idle_requests,
        idle_memory,
        restart,
        restart_requests,
        restart_memory,
        edit_one,
        edit_all,
        edit_all_requests,
        edit_floor,
        edit_children,
        last_memory,
    })
}

/// Mean numbers of runnable processes in 1, 5 and 15 minutes: a figure from a busy machine should say so.
fn load() -> Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

async fn make_pools(admin: &Client, flags: &Flags) -> Result<()> {
    let admin = admin.clone();
    let create = move |pool: std::sync::Arc<Value>| {
        let admin = admin.clone();
        async move { creator::create(&admin, &pool).await }
    };
    creator::spread((0..flags.pools).map(desired::pool).collect(), flags.workers, create).await?;
    Ok(())
}

async fn list(admin: &Client) -> Result<Vec<Pool>> {
    Ok(Api::<Pool>::namespaced(admin.clone(), NAMESPACE).list(&ListParams::default()).await?.items)
}

async fn apply_all(plane: &ControlPlane, client: &Client, bodies: Vec<Value>, workers: usize) -> Result<Cost> {
    let (before, client) = (plane.count().await?, client.clone());
    let apply = move |body: std::sync::Arc<Value>| {
        let client = client.clone();
        async move { creator::apply_child(&client, &body).await }
    };
    let time = creator::spread(bodies, workers, apply).await?;
    Ok(Cost { time, cpu: plane.count().await?.since(&before).cpu })
}

fn log_level(level: &str) -> Value {
    json!({"spec": {"armor": {"logLevel": level}}})
}

fn has_level(pool: &Pool, level: &str) -> bool {
    serde_json::to_value(pool.spec.armor.log_level).is_ok_and(|value| value == level)
}

/// Edits single Pools, one after the other, each at rest.
async fn edit_one(admin: &Client, eyes: &Eyes, flags: &Flags) -> Result<Vec<Duration>> {
    let mut written = eyes.written();
    let mut latencies = Vec::new();
    let edits = flags.edits.min(flags.pools);
    for edit in 0..edits {
        // Spread over the whole, in case that the place in a list matters.
        let pool = format!("pool-{:04}", edit * flags.pools / edits);
        let child = operator::names::child_name(&pool, "armor");
        let begin = Instant::now();
        creator::edit(admin, NAMESPACE, &pool, &log_level("debug")).await?;
        let shown = async {
            loop {
                let (name, at) = written.recv().await?;
                if name == child {
                    return anyhow::Ok(at);
                }
            }
        };
        let at =
            tokio::time::timeout(CHILD_TIMEOUT, shown).await.with_context(|| format!("{child} was not written"))??;
        latencies.push(at - begin);
        eyes.settled(edit + 1, Duration::from_millis(500), |pool| has_level(pool, "debug")).await?;
    }
    latencies.sort();
    Ok(latencies)
}

/// Edits all Pools, as fast as the workers can.
async fn edit_all(plane: &ControlPlane, eyes: &Eyes, flags: &Flags) -> Result<(Cost, Counts)> {
    let names: Vec<String> = eyes.pools().iter().map(ResourceExt::name_any).collect();
    let admin = plane.admin.clone();
    let edit = move |name: std::sync::Arc<String>| {
        let admin = admin.clone();
        async move { creator::edit(&admin, NAMESPACE, &name, &log_level("warn")).await }
    };
    let (before, begin) = (plane.count().await?, Instant::now());
    creator::spread(names, flags.workers, edit).await?;
    let settled = eyes.settled(flags.pools, QUIET, |pool| has_level(pool, "warn")).await?;
    let requests = plane.count().await?.since(&before);
    Ok((Cost { time: settled.last - begin, cpu: requests.cpu }, requests))
}

/// The writes that such an edit of all needs, by the raw creator: the edit, the child that changes, the status. And the
/// children alone.
async fn edit_floor(plane: &ControlPlane, running: Operator, flags: &Flags) -> Result<(Cost, Cost)> {
    running.stop().await?;
    plane.quiet(QUIET).await?;
    let (mut items, mut children) = (Vec::new(), Vec::new());
    let settings = desired::settings()?;
    for pool in list(&plane.admin).await? {
        let of = |level: &str| -> Result<(Pool, Vec<Value>)> {
            let mut edited = pool.clone();
            edited.spec.armor.log_level = serde_json::from_value(json!(level))?;
            let children = desired::children(&edited, &plane.cluster_id, &settings)?;
            Ok((edited, children))
        };
        let (before, (after, wanted), (_, next)) = (of("warn")?.1, of("error")?, of("trace")?);
        children.extend(desired::changed(&wanted, next));
        let mut status = pool.status.clone().context("a Pool without status")?;
        status.observed_generation = pool.metadata.generation.map(|generation| generation + 1);
        status.config_hash = Some(desired::revision(&after, &plane.cluster_id)?);
        let body = json!({
            "apiVersion": "aigateway.dev/v1alpha1", "kind": "Pool",
            "metadata": {"name": pool.name_any(), "namespace": NAMESPACE}, "status": status,
        });
        items.push((pool.name_any(), desired::changed(&before, wanted), body));
    }
    let (admin, client) = (plane.admin.clone(), plane.client("creator").await?);
    let write = move |item: std::sync::Arc<(String, Vec<Value>, Value)>| {
        let (admin, client) = (admin.clone(), client.clone());
        async move {
            let (name, children, status) = &*item;
            creator::edit(&admin, NAMESPACE, name, &log_level("error")).await?;
            for child in children {
                creator::apply_child(&client, child).await?;
            }
            creator::apply_status(&client, status).await
        }
    };
    let before = plane.count().await?;
    let time = creator::spread(items, flags.workers, write).await?;
    let all = Cost { time, cpu: plane.count().await?.since(&before).cpu };
    let client = plane.client("creator").await?;
    let children = apply_all(plane, &client, children, flags.workers).await?;
    Ok((all, children))
}
