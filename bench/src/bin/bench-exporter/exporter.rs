//! The exporter under test, as a process of its own on a core of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::sink::Sink;
use crate::stream::POOL;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);
/// USER_HZ, which Linux keeps at 100 for all programs (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;
const WEBHOOK_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// How programs are started here.
pub struct Place {
    /// The exporter's binary.
    pub exporter: PathBuf,
    /// The core of whatever is measured.
    pub core: usize,
    /// What the programs say is appended here.
    pub log: PathBuf,
}

/// A process on the core that is measured.
pub struct Process {
    child: Child,
    id: u32,
}

/// A running exporter.
pub struct Exporter<'p> {
    place: &'p Place,
    folder: TempDir,
    port: u16,
    process: Process,
}

/// Memory of a process in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident now.
    pub now: f64,
    /// The most that was ever resident.
    pub most: f64,
}

/// A destination of the kind that this name begins with, and that sends to a sink. What follows the kind is a number.
pub fn destination(name: &str, sink: &Sink, delivery: &Value) -> Value {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let url = sink.url(kind, name);
    let (block, secret) = match kind {
        "sumologic" => (json!({"sumoLogic": {}}), Some(("urlSecretRef", format!("url-{name}")))),
        "splunk" => (json!({kind: {"url": url}}), Some(("tokenSecretRef", "token".to_owned()))),
        "datadog" => (json!({kind: {"url": url}}), Some(("apiKeySecretRef", "token".to_owned()))),
        "coralogix" => (
            json!({kind: {"domain": "coralogix.com", "application": "prod", "url": url}}),
            Some(("secretRef", "token".to_owned())),
        ),
        "elasticsearch" => (json!({kind: {"url": url}}), Some(("secretRef", "token".to_owned()))),
        "webhook" => (json!({kind: {"url": url}}), Some(("secretRef", "hook".to_owned()))),
        _ => (json!({"otlp": {"url": url}}), None),
    };
    let secrets: Value = secret.map(|(field, file)| json!({field: file})).unwrap_or(json!({}));
    json!({"name": name, "platform": block, "secrets": secrets, "delivery": delivery})
}

impl Place {
    /// Starts a program on the core that is measured.
    pub fn start(&self, program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Process> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new("taskset")
            .args(["--cpu-list", &self.core.to_string()])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let id = child.id().context("it ended at once")?;
        Ok(Process { child, id })
    }

    /// Starts an exporter and waits until it is ready.
    pub async fn exporter(&self, redis: &str, sink: &Sink, destinations: &[Value]) -> Result<Exporter<'_>> {
        let folder = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let (config, secrets) = (folder.path().join("config"), folder.path().join("secrets"));
        std::fs::create_dir(&config)?;
        std::fs::create_dir(&secrets)?;
        let document = json!({
            "revision": "r1",
            "pool": {"id": POOL, "name": "prod", "namespace": "gateways"},
            "admin": {"port": port, "tokenFile": "token"},
            "redis": {"urlFile": "redis-url"},
            "audit": {"streamMaxBytes": 4_294_967_296_u64, "retain": "1h"},
            "exports": [{"name": "soc", "destinations": destinations}],
        });
        std::fs::write(config.join("exporter.yaml"), document.to_string())?;
        std::fs::write(secrets.join("token"), "a-token-of-the-benchmark")?;
        std::fs::write(secrets.join("redis-url"), redis)?;
        std::fs::write(secrets.join("hook"), WEBHOOK_SECRET)?;
        for name in destinations.iter().filter_map(|destination| destination["name"].as_str()) {
            if name.starts_with("sumologic") {
                std::fs::write(secrets.join(format!("url-{name}")), sink.url("sumologic", name))?;
            }
        }
        let process = self.run(&folder)?;
        let mut exporter = Exporter { place: self, folder, port, process };
        exporter.ready().await?;
        Ok(exporter)
    }

    fn run(&self, folder: &TempDir) -> Result<Process> {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let arguments = [
            "run",
            "--allow-loopback",
            "--instance",
            "bench",
            "--config-dir",
            &path("config"),
            "--secrets-dir",
            &path("secrets"),
        ];
        self.start(&self.exporter, &arguments, &[])
    }
}

impl Exporter<'_> {
    async fn ready(&mut self) -> Result<()> {
        let begin = Instant::now();
        let client = reqwest::Client::builder().no_proxy().timeout(CALL_TIMEOUT).build()?;
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        loop {
            if client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            self.process.alive()?;
            if begin.elapsed() > START_TIMEOUT {
                bail!("the exporter is not ready after {START_TIMEOUT:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it without a chance to finish anything, and starts it again at once.
    pub async fn kill_and_start(&mut self) -> Result<()> {
        self.process.kill().await?;
        self.process = self.place.run(&self.folder)?;
        Ok(())
    }
}

impl Process {
    /// That it still runs.
    pub fn alive(&mut self) -> Result<()> {
        if let Some(ended) = self.child.try_wait()? {
            bail!("what is measured ended with {ended}");
        }
        Ok(())
    }

    /// Ends it.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Its memory, as the kernel tells it.
    pub fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let field = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse()?;
            Ok(kib / 1024.0)
        };
        Ok(Memory { now: field("VmRSS")?, most: field("VmHWM")? })
    }

    /// Seconds of CPU that it has used since its start.
    pub fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id))?;
        // proc(5): the name is in parentheses and may hold spaces; utime and stime are fields 14 and 15.
        let after_name = stat.rsplit_once(')').context("no name in /proc/PID/stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("a short /proc/PID/stat")?.parse()?) };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }
}
