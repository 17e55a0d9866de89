//! What others do to children, what restarts do, and that the end does not depend on the way.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use e2e::{Namespace, SYSTEM, eventually, kubectl, kubectl_json};
use serde_json::{Value, json};

use crate::equal::{become_as, become_equal, snapshot};
use crate::{CHILDREN, pool, workload};

const OPERATOR: &str = "deployment/ai-gateway-operator";

fn versions(ns: &Namespace) -> Result<BTreeMap<String, Value>> {
    let kinds = format!("{CHILDREN},pools,mcpservers");
    let list = kubectl_json(&["-n", &ns.name, "get", &kinds])?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items
        .into_iter()
        .map(|o| (format!("{} {}", o["kind"], o["metadata"]["name"]), o["metadata"]["resourceVersion"].clone()))
        .collect())
}

/// Removes one child of each kind and changes others.
fn vandalize(ns: &Namespace) -> Result<()> {
    let removed = [
        "serviceaccount/prod-armor",
        "configmap/prod-armor",
        "service/prod-redis",
        "networkpolicy/prod-armor",
        "deployment/tickets-mcp",
    ];
    for object in removed {
        ns.kubectl(&["delete", object, "--wait=true", "--timeout=60s"])?;
    }
    ns.patch("deployment", "prod-armor", &json!({"spec": {"replicas": 0}}))?;
    ns.patch("service", "prod-armor", &json!({"spec": {"selector": {"app.kubernetes.io/name": "nobody"}}}))?;
    ns.patch("networkpolicy", "prod-redis", &json!({"spec": {"ingress": [{}]}}))?;
    ns.patch(
        "serviceaccount",
        "prod-redis",
        &json!({"metadata": {"labels": {"app.kubernetes.io/component": "stolen"}}}),
    )?;
    Ok(())
}

fn scale_operator(replicas: usize) -> Result<()> {
    kubectl(&["-n", SYSTEM, "scale", OPERATOR, &format!("--replicas={replicas}")])?;
    eventually("the operator is scaled", Duration::from_secs(60), || {
        let pods = kubectl_json(&["-n", SYSTEM, "get", "pods", "-l", "app=ai-gateway-operator"])?;
        let count = pods["items"].as_array().map_or(0, Vec::len);
        ensure!(count == replicas, "{count} Pods");
        Ok(())
    })?;
    if replicas > 0 {
        kubectl(&["-n", SYSTEM, "rollout", "status", OPERATOR, "--timeout=60s"])?;
    }
    Ok(())
}

/// Identity in the lease; empty when nobody holds it.
fn leader() -> Result<String> {
    let lease = kubectl_json(&["-n", SYSTEM, "get", "lease", "ai-gateway-operator"])?;
    Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

/// Kills one Pod of the operator after another, at random times, until it is stopped.
pub struct Killer {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Result<usize>>,
}

impl Killer {
    /// The first falls soon.
    pub fn start() -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut killed = 0;
            loop {
                // Of a random key.
                let random = RandomState::new().hash_one(killed);
                let pause = Duration::from_millis(2_000 + random % 10_000);
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return Ok(killed);
                }
                let pods = kubectl(&["-n", SYSTEM, "get", "pods", "-l", "app=ai-gateway-operator", "-o", "name"])?;
                let pods: Vec<&str> = pods.lines().collect();
                let Some(pod) = pods.get((random >> 32) as usize % pods.len().max(1)) else { continue };
                kubectl(&["-n", SYSTEM, "delete", pod, "--grace-period=0", "--force", "--ignore-not-found"])?;
                killed += 1;
            }
        });
        Killer { stop, thread }
    }

    /// Gives how many fell, when the operator is up again.
    ///
    /// # Errors
    /// When one could not be killed, or none was.
    pub fn stop(self) -> Result<usize> {
        drop(self.stop);
        let killed = self.thread.join().map_err(|_| anyhow!("the killer died"))??;
        ensure!(killed > 0, "nobody was killed");
        kubectl(&["-n", SYSTEM, "rollout", "status", OPERATOR, "--timeout=90s"])?;
        Ok(killed)
    }
}

#[test]
fn children_that_are_removed_or_changed_come_back_with_the_operator_up_and_after_it_was_down() -> Result<()> {
    let ns = Namespace::new("e2e-drift")?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", ""), 60)?;
    let before = snapshot(&ns)?;
    vandalize(&ns)?;
    become_as(&ns, || Ok(before.clone()))?;
    ns.active("prod", 90)?;

    scale_operator(0)?;
    let vandalized = vandalize(&ns);
    scale_operator(2)?;
    vandalized?;
    become_as(&ns, || Ok(before.clone()))?;
    ns.active("prod", 90)?;
    Ok(())
}

#[test]
fn a_restart_of_a_converged_operator_writes_nothing() -> Result<()> {
    let ns = Namespace::new("e2e-restart")?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", ""), 60)?;
    // The operator's counters are for all namespaces, and those of earlier tests may still be on their way out.
    eventually("this is the only namespace of a test", Duration::from_secs(180), || {
        let all = kubectl(&["get", "namespaces", "-o", "name"])?;
        let others: Vec<&str> = all.lines().filter(|l| l.contains("/e2e-") && !l.ends_with("/e2e-restart")).collect();
        ensure!(others.is_empty(), "{others:?}");
        Ok(())
    })?;
    // What is still on its way is the cluster's: two equal looks, some time apart, are the converged state.
    let mut last = versions(&ns)?;
    let before = eventually("the namespace is quiet", Duration::from_secs(60), || {
        std::thread::sleep(Duration::from_secs(3));
        let now = versions(&ns)?;
        let quiet = now == last;
        last.clone_from(&now);
        ensure!(quiet, "it changes");
        Ok(now)
    })?;
    scale_operator(0)?;
    scale_operator(2)?;
    eventually("the new leader has reconciled", Duration::from_secs(60), || {
        let metrics = operator_metrics(&leader()?)?;
        let done = metrics.lines().any(|l| l.starts_with("ai_gateway_operator_reconciles_total{kind=\"McpServer\""));
        ensure!(done, "{metrics}");
        Ok(())
    })?;
    let after = versions(&ns)?;
    ensure!(before == after, "before {before:?}\nafter {after:?}");
    let metrics = operator_metrics(&leader()?)?;
    let writes: Vec<&str> = metrics
        .lines()
        .filter(|l| {
            l.contains("status_writes_total{")
                || l.contains("verb=\"Apply\"")
                || l.contains("verb=\"Create\"")
                || l.contains("verb=\"Delete\"")
        })
        .collect();
    ensure!(writes.is_empty(), "{writes:?}");
    Ok(())
}

/// Metrics of an operator's Pod, through the API server.
pub fn operator_metrics(pod: &str) -> Result<String> {
    ensure!(!pod.is_empty(), "nobody leads");
    kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics")])
}

#[test]
fn the_second_replica_takes_over_within_20_s_of_the_leaders_death() -> Result<()> {
    let ns = Namespace::new("e2e-failover")?;
    ns.apply(&pool("prod"))?;
    ns.active("prod", 120)?;
    let first = eventually("somebody leads", Duration::from_secs(30), || {
        let leader = leader()?;
        ensure!(!leader.is_empty(), "nobody does");
        Ok(leader)
    })?;
    kubectl(&["-n", SYSTEM, "delete", "pod", &first, "--grace-period=0", "--force"])?;
    let died = Instant::now();
    ns.patch("pool", "prod", &json!({"spec": {"armor": {"service": {"port": 8088}}}}))?;
    eventually("another replica applies the edit", Duration::from_secs(20), || {
        let port = ns.get("service", "prod-armor")?["spec"]["ports"][0]["port"].clone();
        ensure!(port == 8088, "the port is {port}");
        Ok(())
    })?;
    eprintln!("another replica took over after {:.1} s", died.elapsed().as_secs_f32());
    ensure!(leader()? != first, "the dead replica holds the lease");
    kubectl(&["-n", SYSTEM, "rollout", "status", OPERATOR, "--timeout=60s"])?;
    Ok(())
}

#[test]
fn the_end_state_after_kills_in_the_middle_equals_a_fresh_creation() -> Result<()> {
    let foreign = ["create", "configmap", "foreign", "--from-literal=a=b"];
    let chaos = Namespace::new("e2e-chaos")?;
    chaos.kubectl(&foreign)?;
    let before = chaos.get("configmap", "foreign")?;
    let steps: [&dyn Fn() -> Result<()>; 6] = [
        &|| chaos.apply(&(pool("prod") + &workload("tickets", "prod"))).map(drop),
        &|| {
            chaos
                .patch("pool", "prod", &json!({"spec": {"armor": {"replicas": 2, "service": {"port": 8081}}}}))
                .map(drop)
        },
        &|| chaos.apply(&workload("wiki", "prod")).map(drop),
        &|| chaos.kubectl(&["delete", "mcpserver", "tickets", "--wait=false"]).map(drop),
        &|| chaos.kubectl(&["delete", "pool", "prod"]).map(drop),
        &|| chaos.apply(&(pool("prod") + &workload("tickets", "prod"))).map(drop),
    ];
    for step in steps {
        step()?;
        // In the middle of the work that the step caused, whatever that is at this moment.
        let leader = leader()?;
        if !leader.is_empty() {
            kubectl(&["-n", SYSTEM, "delete", "pod", &leader, "--grace-period=0", "--force", "--ignore-not-found"])?;
        }
    }
    kubectl(&["-n", SYSTEM, "rollout", "status", OPERATOR, "--timeout=90s"])?;
    chaos.active("prod", 150)?;
    for server in ["tickets", "wiki"] {
        chaos.condition("mcpserver", server, ("Ready", "True", ""), 90)?;
    }
    let fresh = Namespace::new("e2e-chaos-fresh")?;
    fresh.kubectl(&foreign)?;
    fresh.apply(&(pool("prod") + &workload("tickets", "prod") + &workload("wiki", "prod")))?;
    fresh.active("prod", 120)?;
    for server in ["tickets", "wiki"] {
        fresh.condition("mcpserver", server, ("Ready", "True", ""), 90)?;
    }
    become_equal(&chaos, &fresh)?;
    ensure!(chaos.get("configmap", "foreign")? == before, "a foreign object was changed");
    Ok(())
}
