//! The operator under test, as a process of its own.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use crate::desired;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// USER_HZ, which Linux keeps at 100 for all programs (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;
const LOOK: Duration = Duration::from_millis(100);
/// A restarted operator that has not looked at every object by then is stuck.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(600);

/// How to start it.
pub struct Program {
    /// The binary.
    pub binary: PathBuf,
    /// The kubeconfig of its account.
    pub kubeconfig: PathBuf,
    /// Its log is appended here.
    pub log: PathBuf,
}

/// A running operator.
pub struct Operator {
    child: Child,
    pid: u32,
    url: String,
    http: reqwest::Client,
    log: PathBuf,
}

/// Memory of a process in MB (10^6 bytes).
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident now.
    pub now: f64,
    /// The most that was ever resident.
    pub most: f64,
}

impl Program {
    /// Starts it and waits until it leads and is ready.
    pub async fn start(&self) -> Result<Operator> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.binary)
            .args(desired::operator_args(port))
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        let pid = child.id().context("the operator ended at once")?;
        let http = reqwest::Client::builder().no_proxy().timeout(CALL_TIMEOUT).build()?;
        let mut operator =
            Operator { child, pid, url: format!("http://127.0.0.1:{port}"), http, log: self.log.clone() };
        operator.ready().await?;
        Ok(operator)
    }
}

impl Operator {
    async fn ready(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            let answer = self.http.get(format!("{}/readyz", self.url)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success())
                && self.metric("ai_gateway_operator_leader", "").await? == 1.0
            {
                return Ok(());
            }
            self.alive(begin, START_TIMEOUT)?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it has looked at `pools` Pools and then at none for `quiet`; gives the time of the last look.
    pub async fn reconciled(&mut self, pools: usize, quiet: Duration) -> Result<Instant> {
        let begin = Instant::now();
        let mut last = (0.0, Instant::now());
        loop {
            let count = self.metric("ai_gateway_operator_reconciles_total", "kind=\"Pool\"").await?;
            if count > last.0 {
                last = (count, Instant::now());
            }
            #[allow(clippy::cast_precision_loss)] // Thousands, not 2^52.
            if count >= pools as f64 && last.1.elapsed() >= quiet {
                return Ok(last.1);
            }
            self.alive(begin, RECONCILE_TIMEOUT)?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Its memory, as the kernel tells it.
    pub fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(Path::new("/proc").join(self.pid.to_string()).join("status"))?;
        let field = |name: &str| -> Result<f64> {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .with_context(|| format!("no {name} in /proc"))?;
            let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse()?;
            Ok(kib * 1024.0 / 1e6)
        };
        Ok(Memory { now: field("VmRSS")?, most: field("VmHWM")? })
    }

    /// Seconds of CPU that it has used since its start.
    pub fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(Path::new("/proc").join(self.pid.to_string()).join("stat"))?;
        // proc(5): the name is in parentheses and may hold spaces; utime and stime are fields 14 and 15.
        let after_name = stat.rsplit_once(')').context("no name in /proc/PID/stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("a short /proc/PID/stat")?.parse()?) };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// Ends it as a kubelet does, so that it gives its lease back.
    pub async fn stop(mut self) -> Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status().await?;
        if !asked.success() {
            bail!("kill: {asked}");
        }
        let ended =
            tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.context("the operator does not stop")??;
        if !ended.success() {
            bail!("the operator ended with {ended}: see {}", self.log.display());
        }
        Ok(())
    }

    /// Sum of the series of a metric that carry a label.
    async fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let text = self.http.get(format!("{}/metrics", self.url)).send().await?.error_for_status()?.text().await?;
        let series = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        Ok(series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    fn alive(&mut self, since: Instant, limit: Duration) -> Result<()> {
        if let Some(ended) = self.child.try_wait()? {
            bail!("the operator ended with {ended}: see {}", self.log.display());
        }
        if since.elapsed() > limit {
            bail!("the operator is not done after {limit:?}: see {}", self.log.display());
        }
        Ok(())
    }
}
