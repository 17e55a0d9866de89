//! The binary under test, with its two directories.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Reply};
use super::{eventually, free_port};

pub const ADMIN_TOKEN: &str = "admin-token-of-the-test";
pub const HASH_KEY: &str = "0123456789abcdef0123456789abcdef";

/// `armor.yaml` as a value, to be changed by tests.
pub struct Config {
    pub yaml: Value,
    pub secrets: Vec<(String, String)>,
}

impl Config {
    /// An anonymous pool without servers, and without a Redis that answers.
    pub fn new() -> Self {
        let yaml = json!({
            "revision": "r1",
            "pool": { "id": "0d3f2c1a-pool", "name": "prod", "namespace": "gateways" },
            "listener": { "port": free_port() },
            "admin": { "port": free_port(), "tokenFile": "admin-token" },
            "auth": { "anonymous": true },
            "redis": { "url": "redis://127.0.0.1:9" },
            "audit": {
                "stream": "audit:{0d3f2c1a-pool}:events", "streamMaxBytes": 268_435_456u64,
                "parameters": "NamesAndHashes", "hashKeyFile": "hash-key"
            },
            "servers": []
        });
        let secrets =
            vec![("admin-token".to_owned(), format!("{ADMIN_TOKEN}\n")), ("hash-key".to_owned(), HASH_KEY.to_owned())];
        Self { yaml, secrets }
    }

    /// Adds a server; its prefix is its name.
    pub fn server(self, name: &str, url: &str) -> Self {
        self.server_with(name, url, json!({}))
    }

    /// Adds a server with more fields.
    pub fn server_with(mut self, name: &str, url: &str, more: Value) -> Self {
        let mut server = json!({ "name": name, "prefix": name, "url": url, "timeout": "5s" });
        for (key, value) in more.as_object().unwrap() {
            server[key] = value.clone();
        }
        self.yaml["servers"].as_array_mut().unwrap().push(server);
        self
    }

    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.retain(|(known, _)| known != name);
        self.secrets.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn redis(mut self, url: &str) -> Self {
        self.yaml["redis"]["url"] = url.into();
        self
    }

    /// The same pool on other ports: a second replica.
    pub fn replica(&self) -> Self {
        let mut yaml = self.yaml.clone();
        yaml["listener"]["port"] = free_port().into();
        yaml["admin"]["port"] = free_port().into();
        Self { yaml, secrets: self.secrets.clone() }
    }
}

/// A running Armor.
pub struct Armor {
    pub folder: TempDir,
    pub url: String,
    pub admin: String,
    child: Child,
}

impl Armor {
    /// Starts one and waits until it is ready and every server has been probed.
    pub async fn start(config: &Config) -> Self {
        let armor = Self::launch(config);
        armor.ready().await;
        armor.probed().await;
        armor
    }

    /// Starts one.
    pub fn launch(config: &Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for part in ["config", "secrets"] {
            std::fs::create_dir(folder.path().join(part)).unwrap();
        }
        for (name, value) in &config.secrets {
            std::fs::write(folder.path().join("secrets").join(name), value).unwrap();
        }
        std::fs::write(folder.path().join("config/armor.yaml"), config.yaml.to_string()).unwrap();
        let port = |part: &str| config.yaml[part]["port"].as_u64().unwrap();
        let (listener, admin) = (port("listener"), port("admin"));
        Self::launch_in(folder, listener, admin)
    }

    /// Starts one on directories that are there already.
    pub fn launch_in(folder: TempDir, listener: u64, admin: u64) -> Self {
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_armor"))
            .args(["run", "--config-dir"])
            .arg(folder.path().join("config"))
            .arg("--secrets-dir")
            .arg(folder.path().join("secrets"))
            .args(["--instance", "armor-0"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            url: format!("http://127.0.0.1:{listener}/mcp"),
            admin: format!("http://127.0.0.1:{admin}"),
            folder,
            child,
        }
    }

    pub async fn ready(&self) {
        eventually("/readyz", async || self.probe("/readyz").await.filter(|r| r.status == 200)).await;
    }

    async fn probed(&self) {
        eventually("a probe of every server", async || {
            let servers = self.servers().await;
            servers.iter().all(|s| s["state"] != "Pending").then_some(())
        })
        .await;
    }

    /// An answer of the admin port, if there is one.
    pub async fn probe(&self, path: &str) -> Option<Reply> {
        http::try_get(&format!("{}{path}", self.admin), &[]).await.ok()
    }

    /// An answer of the admin port, with the token.
    pub async fn admin(&self, path: &str) -> Value {
        let token = format!("Bearer {ADMIN_TOKEN}");
        let reply = http::get(&format!("{}{path}", self.admin), &[("authorization", &token)]).await;
        assert_eq!(reply.status, 200, "{path}");
        reply.json()
    }

    pub async fn servers(&self) -> Vec<Value> {
        self.admin("/servers").await["servers"].as_array().unwrap().clone()
    }

    pub async fn server(&self, name: &str) -> Value {
        let servers = self.servers().await;
        servers.into_iter().find(|s| s["name"] == name).unwrap_or_else(|| panic!("no server {name}"))
    }

    /// The value of a figure; 0 if it is not there.
    pub async fn metric(&self, line: &str) -> f64 {
        let text = self.probe("/metrics").await.unwrap().text();
        let found = text.lines().find_map(|l| l.strip_prefix(line));
        found.map_or(0.0, |rest| rest.trim().parse().unwrap())
    }

    /// The sum of a figure over its labels.
    pub async fn metric_sum(&self, name: &str) -> u64 {
        let text = self.probe("/metrics").await.unwrap().text();
        let values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
        values.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("config/armor.yaml")
    }

    pub fn secret_file(&self, name: &str) -> PathBuf {
        self.folder.path().join("secrets").join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Replaces a file as one step.
    pub fn replace(&self, file: &Path, content: &str) {
        let beside = self.folder.path().join("new");
        std::fs::write(&beside, content).unwrap();
        std::fs::rename(&beside, file).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Asks it to end, cutting the drain short, and waits. The exit code.
    pub async fn stop(&mut self) -> i32 {
        self.signal("-TERM");
        // Once it drains, a second signal ends the wait for load balancers.
        eventually("draining", async || match self.exited() {
            Some(_) => Some(()),
            None => self.probe("/readyz").await.filter(|r| r.status == 503).map(|_| ()),
        })
        .await;
        if self.exited().is_none() {
            self.signal("-TERM");
        }
        self.exit_code().await
    }

    pub fn exited(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }

    pub async fn exit_code(&mut self) -> i32 {
        loop {
            if let Some(code) = self.exited() {
                return code;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Armor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of armor\n{}---", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
