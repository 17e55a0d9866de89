//! A control plane of its own for a phase, and what its API server says of itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::process::Command;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(90);
/// The cluster's tools are there already; this is for slow disks.
const UP_TIMEOUT: Duration = Duration::from_secs(180);
/// Between two looks at a metric. One costs the API server about 50 ms of CPU.
const LOOK: Duration = Duration::from_secs(2);
/// The controllers may take long: each is held to 20 requests per second by default.
const QUIET_DEADLINE: Duration = Duration::from_secs(1200);

/// etcd, kube-apiserver and kube-controller-manager.
pub struct ControlPlane {
    dir: PathBuf,
    /// Clients of an administrator.
    pub admin: Client,
    /// Uid of the namespace kube-system.
    pub cluster_id: String,
}

impl ControlPlane {
    /// Starts one whose files are below `work`.
    pub async fn up(work: &Path, name: &str) -> Result<Self> {
        let dir = work.join(name);
        script("up", &dir).await?;
        let admin = client(&dir.join("admin.kubeconfig")).await?;
        let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(admin.clone());
        let cluster_id = namespaces.get("kube-system").await?.metadata.uid.context("kube-system has no uid")?;
        Ok(ControlPlane { dir, admin, cluster_id })
    }

    /// Ends it.
    pub async fn down(self) -> Result<()> {
        script("down", &self.dir).await
    }

    /// The kubeconfig of an account: `operator` or `creator`.
    pub fn kubeconfig(&self, account: &str) -> PathBuf {
        self.dir.join(format!("{account}.kubeconfig"))
    }

    /// A client of an account.
    pub async fn client(&self, account: &str) -> Result<Client> {
        client(&self.kubeconfig(account)).await
    }

    /// What the API server has counted so far.
    pub async fn count(&self) -> Result<Counts> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = tokio::time::timeout(READ_TIMEOUT, self.admin.request_text(request)).await??;
        Ok(Counts::parse(&text))
    }

    /// Waits until nobody but lease holders has written anything for `quiet`; gives the time of the last write,
    /// to within one look.
    pub async fn quiet(&self, quiet: Duration) -> Result<Instant> {
        let begin = Instant::now();
        let mut last = (self.count().await?.writes(), Instant::now());
        while last.1.elapsed() < quiet {
            if begin.elapsed() > QUIET_DEADLINE {
                bail!("the control plane is still being written to after {QUIET_DEADLINE:?}");
            }
            tokio::time::sleep(LOOK).await;
            let writes = self.count().await?.writes();
            if writes > last.0 {
                last = (writes, Instant::now());
            }
        }
        Ok(last.1)
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    Ok(Client::try_from(config)?)
}

async fn script(action: &str, dir: &Path) -> Result<()> {
    // What it prints is progress and, on failure, the reason: both are for the person who waits.
    let mut process =
        Command::new("bench/control-plane.sh").arg(action).arg(dir).stdin(Stdio::null()).kill_on_drop(true).spawn()?;
    let status =
        tokio::time::timeout(UP_TIMEOUT, process.wait()).await.with_context(|| format!("control plane {action}"))??;
    if !status.success() {
        bail!("control plane {action}: {status}");
    }
    Ok(())
}

/// Counters of the API server at one moment, or their growth between two.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Requests of everybody by verb and resource (`APPLY pools/status`).
    pub requests: BTreeMap<String, f64>,
    /// Requests of the operator by class; see `bench/flow-schemas.yaml`.
    pub operator: BTreeMap<String, f64>,
    /// Seconds of CPU of the API server.
    pub cpu: f64,
}

impl Counts {
    fn parse(text: &str) -> Self {
        let mut counts = Counts::default();
        for line in text.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            match name {
                "process_cpu_seconds_total" => counts.cpu = value,
                "apiserver_request_total" => {
                    let subresource = label(labels, "subresource");
                    let slash = if subresource.is_empty() { "" } else { "/" };
                    let key = format!("{} {}{slash}{subresource}", label(labels, "verb"), label(labels, "resource"));
                    *counts.requests.entry(key).or_default() += value;
                }
                "apiserver_flowcontrol_dispatched_requests_total" => {
                    if let Some(class) = label(labels, "flow_schema").strip_prefix("bench-operator-") {
                        *counts.operator.entry(class.to_owned()).or_default() += value;
                    }
                }
                _ => {}
            }
        }
        counts
    }

    /// What was counted after `before`.
    pub fn since(&self, before: &Counts) -> Counts {
        let growth = |now: &BTreeMap<String, f64>, then: &BTreeMap<String, f64>| {
            let grown = now.iter().map(|(key, value)| (key.clone(), value - then.get(key).unwrap_or(&0.0)));
            grown.filter(|(_, value)| *value > 0.0).collect()
        };
        Counts {
            requests: growth(&self.requests, &before.requests),
            operator: growth(&self.operator, &before.operator),
            cpu: self.cpu - before.cpu,
        }
    }

    /// Requests of the operator in some classes.
    pub fn by_operator(&self, classes: &[&str]) -> f64 {
        // Not `sum`: that of nothing is -0.
        classes.iter().filter_map(|class| self.operator.get(*class)).fold(0.0, |sum, number| sum + number)
    }

    /// Writes of the operator, without those of its lease.
    pub fn operator_writes(&self) -> f64 {
        self.by_operator(&["status", "event", "write"])
    }

    /// Writes of everybody, without leases and events.
    fn writes(&self) -> f64 {
        let is_write =
            |key: &str| ["POST ", "PUT ", "PATCH ", "APPLY ", "DELETE "].iter().any(|verb| key.starts_with(verb));
        let is_pulse = |key: &str| key.ends_with(" leases") || key.ends_with(" events");
        self.requests.iter().filter(|(key, _)| is_write(key) && !is_pulse(key)).map(|(_, value)| value).sum()
    }
}

/// The value of a label in `a="b",c="d"}`. None of the labels that are asked for has a quote or a comma in its value.
fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    labels
        .trim_end_matches('}')
        .split(',')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\""))
        .map_or("", |value| value.trim_end_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"# HELP apiserver_request_total Counter of requests
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="GET",version="v1"} 5
apiserver_request_total{code="200",component="apiserver",dry_run="",group="aigateway.dev",resource="pools",scope="resource",subresource="status",verb="APPLY",version="v1alpha1"} 2
apiserver_flowcontrol_dispatched_requests_total{flow_schema="bench-operator-status",priority_level="workload-low"} 2
apiserver_flowcontrol_dispatched_requests_total{flow_schema="system-nodes",priority_level="system"} 9
process_cpu_seconds_total 12.5"#;

    #[test]
    fn growth_is_counted_by_verb_and_by_class() {
        let after = BEFORE.replace("} 2", "} 7").replace(" 12.5", " 14").replace("} 5", "} 5.0");
        let grown = Counts::parse(&after).since(&Counts::parse(BEFORE));
        assert_eq!(grown.requests, BTreeMap::from([("APPLY pools/status".to_owned(), 5.0)]));
        assert_eq!(grown.operator_writes(), 5.0);
        assert!(grown.by_operator(&["get"]).is_sign_positive());
        assert_eq!(grown.cpu, 1.5);
    }

    #[test]
    fn leases_are_no_writes() {
        let text = r#"apiserver_request_total{resource="leases",subresource="",verb="PUT"} 3
apiserver_request_total{resource="pods",subresource="",verb="POST"} 1
apiserver_request_total{resource="pods",subresource="",verb="LIST"} 1"#;
        assert_eq!(Counts::parse(text).writes(), 1.0);
    }
}
