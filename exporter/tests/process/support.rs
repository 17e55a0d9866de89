//! The exporter as a process, with directories of its own and a real Redis.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::redis_server::Server;

pub const PATIENCE: Duration = Duration::from_secs(60);
pub const TOKEN: &str = "a-token-of-the-api";
pub const POOL: &str = "5f1c3f52-8f2e-4b63-9a75-1de6d2f7a001";
pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const SAMPLE: &str = include_str!("../../../events/samples/tool_call.json");

/// Directories with a configuration, and the process that reads them.
pub struct Exporter {
    child: Option<Child>,
    folder: TempDir,
    instance: String,
    port: u16,
    client: reqwest::Client,
    log: Arc<Mutex<String>>,
}

impl Exporter {
    /// One that runs with these exports.
    pub async fn start(redis: &Server, instance: &str, exports: Value) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        for name in ["config", "secrets"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut exporter = Self {
            child: None,
            folder,
            instance: instance.to_owned(),
            port,
            client: reqwest::Client::new(),
            log: Arc::default(),
        };
        exporter.secret("admin-token", TOKEN);
        exporter.secret("redis-url", &redis.url());
        exporter.secret("hook", SECRET);
        exporter.configure("r1", exports);
        exporter.run();
        exporter.ready().await;
        exporter
    }

    /// Starts the process, perhaps again.
    pub fn run(&mut self) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_exporter"))
            .args(["run", "--allow-loopback", "--instance", &self.instance])
            .arg("--config-dir")
            .arg(self.folder.path().join("config"))
            .arg("--secrets-dir")
            .arg(self.folder.path().join("secrets"))
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        for pipe in [
            Box::new(child.stderr.take().unwrap()) as Box<dyn std::io::Read + Send>,
            Box::new(child.stdout.take().unwrap()),
        ] {
            let log = self.log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let mut log = log.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        }
        self.child = Some(child);
    }

    pub async fn ready(&self) {
        let url = self.url("readyz");
        eventually("the exporter is ready", async || {
            self.client.get(&url).send().await.is_ok_and(|response| response.status().is_success())
        })
        .await;
    }

    /// Without a chance to finish anything.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// As the kubelet ends it; gives whether it ended well.
    pub fn terminate(&mut self) -> bool {
        let mut child = self.child.take().unwrap();
        let status = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(status.success());
        child.wait().unwrap().success()
    }

    pub fn secret(&self, name: &str, value: &str) {
        write(&self.folder.path().join("secrets"), name, value);
    }

    pub fn configure(&self, revision: &str, exports: Value) {
        self.write_configuration(&self.document(revision, exports).to_string());
    }

    pub fn document(&self, revision: &str, exports: Value) -> Value {
        json!({
            "revision": revision,
            "pool": {"id": POOL, "name": "prod", "namespace": "gateways"},
            "admin": {"port": self.port, "tokenFile": "admin-token"},
            "redis": {"urlFile": "redis-url"},
            "audit": {"streamMaxBytes": 268_435_456, "retain": "1h"},
            "exports": exports,
        })
    }

    /// `STOP` freezes it, `CONT` lets it go on.
    #[allow(dead_code, reason = "another test uses it")]
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.process_id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    #[allow(dead_code, reason = "another test uses it")]
    pub fn process_id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn write_configuration(&self, text: &str) {
        write(&self.folder.path().join("config"), "exporter.yaml", text);
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub async fn get(&self, path: &str) -> String {
        let request = self.client.get(self.url(path)).bearer_auth(TOKEN);
        request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    }

    pub async fn status_of(&self, path: &str, token: Option<&str>) -> u16 {
        let mut request = self.client.get(self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap().status().as_u16()
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(self.url(path)).bearer_auth(TOKEN).body(body.to_string());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    pub async fn destinations(&self) -> Value {
        serde_json::from_str(&self.get("v1/destinations").await).unwrap()
    }

    pub async fn destination(&self, id: &str) -> Value {
        let all = self.destinations().await;
        let found = all["destinations"].as_array().unwrap().iter().find(|one| one["id"] == id).cloned();
        found.unwrap_or_else(|| panic!("{id} is not in {all}"))
    }

    pub async fn becomes(&self, id: &str, key: &str, wanted: Value) -> Value {
        let mut last = Value::Null;
        let end = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < end {
            let all = self.destinations().await;
            last =
                all["destinations"].as_array().unwrap().iter().find(|one| one["id"] == id).cloned().unwrap_or_default();
            if last[key] == wanted {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{id}: {key} is not {wanted}: {last}\n{}", self.log());
    }

    pub async fn runs(&self, revision: &str) {
        eventually("the revision runs", async || self.destinations().await["revision"] == revision).await;
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.kill();
    }
}

/// As the kubelet does it: another file in the place of the old one.
fn write(folder: &Path, name: &str, value: &str) {
    let new = folder.join(format!("..new-{name}"));
    std::fs::write(&new, value).unwrap();
    std::fs::rename(new, folder.join(name)).unwrap();
}

pub async fn eventually(what: &str, wanted: impl AsyncFn() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !wanted().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An export `soc` with these destinations.
pub fn soc(destinations: Value) -> Value {
    json!([{"name": "soc", "destinations": destinations}])
}

/// A destination that is a webhook.
pub fn hook(name: &str, url: &str) -> Value {
    json!({
        "name": name,
        "platform": {"webhook": {"url": url}},
        "secrets": {"secretRef": "hook"},
        "delivery": {"batchEvents": 50, "flushInterval": "20ms", "maxRetryInterval": "1s", "timeout": "2s"},
    })
}

pub fn event(number: u64) -> Value {
    let mut event: Value = serde_json::from_str(SAMPLE).unwrap();
    event["event_id"] = id(number).into();
    event["timestamp"] = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into();
    event
}

pub fn id(number: u64) -> String {
    ulid::Ulid::from_parts(1_795_233_600_000, u128::from(number)).to_string()
}

pub fn stream() -> String {
    format!("audit:{{{POOL}}}:events")
}

/// Adds events as Armor does; gives their ids.
pub fn add(server: &Server, numbers: std::ops::Range<u64>) -> BTreeSet<String> {
    let mut connection = server.connect();
    let numbers: Vec<u64> = numbers.collect();
    for chunk in numbers.chunks(500) {
        let mut pipe = redis::pipe();
        for number in chunk {
            pipe.cmd("XADD").arg(stream()).arg(&["*", "event"]).arg(event(*number).to_string()).ignore();
        }
        pipe.query::<()>(&mut connection).unwrap();
    }
    numbers.into_iter().map(id).collect()
}
