//! Receivers as processes of their own, and what all of their tests need.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use exporter::address::Policy;
use exporter::answer::{Outcome, Verdict};
use exporter::destination::Shaped;
use exporter::platform::Platform;
use exporter::registry::{self, Access, Identity};
use exporter::tls;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::Case;

/// How long anything may take that must happen: an OpenSearch on a busy machine takes half of it to start.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The folder with the installed receivers.
pub fn installed(part: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let made = Command::new(script("setup.sh")).stderr(Stdio::inherit()).output().unwrap();
        assert!(made.status.success(), "the receivers can not be installed");
        String::from_utf8(made.stdout).unwrap().trim().into()
    });
    folder.join(part)
}

/// A file beside this one.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/receivers").join(name)
}

/// A Python program beside this file, with the libraries of the vendors.
pub fn python(name: &str) -> Command {
    let mut command = Command::new(installed("python/bin/python"));
    // No byte code beside the scripts.
    command.arg("-B").arg(script(name));
    command
}

/// A Node.js program beside this file, with the libraries of the vendors.
pub fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", installed("npm/node_modules")).arg(script(name));
    command
}

/// A port that nobody listens at, for TCP or UDP; below those that the system gives to outgoing connections, and never
/// the same again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + u16::try_from(offset % 12_000).unwrap();
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

/// A receiver with a folder of its own; ended when it is dropped.
pub struct Process {
    child: Child,
    folder: TempDir,
}

impl Process {
    /// Starts it, with what it prints in `out` and `log` of its folder.
    pub fn start(folder: TempDir, command: &mut Command) -> Self {
        let file = |name| File::create(folder.path().join(name)).unwrap();
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("log"))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, folder }
    }

    /// What it wrote to a file so far.
    pub fn text(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The whole lines of a file, each of them JSON.
    pub fn lines(&self, name: &str) -> Vec<Value> {
        let text = self.text(name);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Asks again until there is an answer; fails with what the receiver said, when it ended or after [`PATIENCE`].
    pub async fn until<T>(&mut self, what: &str, mut ask: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(answer) = ask(self).await {
                return answer;
            }
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || started.elapsed() > PATIENCE {
                let (out, log) = (self.text("out"), self.text("log"));
                panic!("{what}: not so; exit {ended:?}\n{}\n{}", tail(&out), tail(&log));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until it listens at a port of this machine: asking the kernel tells it nothing and takes no port from it.
    pub async fn listens(&mut self, port: u16, datagrams: bool) {
        let (files, state) = if datagrams { (["udp", "udp6"], "07") } else { (["tcp", "tcp6"], "0A") };
        let local = format!(":{port:04X}");
        self.until("it listens", async |_| {
            let open = files.iter().any(|file| {
                let table = std::fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
                table
                    .lines()
                    .map(|line| line.split_whitespace().collect::<Vec<_>>())
                    .any(|columns| matches!(columns[..], [_, at, _, now, ..] if at.ends_with(&local) && now == state))
            });
            open.then_some(())
        })
        .await;
    }
}

fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(4_000);
    text.get(from..).unwrap_or(text)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end with some input, and reads the JSON that it prints.
pub async fn run(mut command: Command, input: &Value) -> Value {
    let input = input.to_string();
    let finished = tokio::task::spawn_blocking(move || {
        let mut given = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut given, input.as_bytes()).unwrap();
        std::io::Seek::rewind(&mut given).unwrap();
        command.stdin(given).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    });
    let output = tokio::time::timeout(PATIENCE, finished).await.unwrap().unwrap();
    let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{log}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{log}"))
}

/// A destination, as the exporter sets it up from the block of a SiemExport and from its secrets.
pub fn destination(block: Value, secrets: &[(&str, &str)], tls: tls::Settings) -> Arc<dyn Platform> {
    let access = Access {
        secrets: secrets.iter().map(|(name, secret)| ((*name).to_owned(), (*secret).to_owned().into())).collect(),
        tls,
        server_name: None,
        policy: Policy::LOOPBACK_TOO,
        proxy: None,
        identity: Identity::default(),
        instance: "prod-exporter-0".to_owned(),
    };
    registry::platform(serde_json::from_value(block).unwrap(), access).unwrap()
}

/// A client of the test's own, for what a receiver's owner does.
pub fn owner() -> reqwest::Client {
    let tls = tls::Settings::default().client_config(&[]).unwrap();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(PATIENCE).build().unwrap()
}

/// Shapes and sends events in one request.
pub async fn send(platform: &dyn Platform, cases: &[Case]) -> Outcome {
    let shaped: Vec<Shaped> = cases.iter().map(|case| platform.shape(&case.routed())).collect();
    platform.send(&shaped, Timestamp::now(), PATIENCE).await
}

/// The outcome in words, one for all events or one for each.
pub fn words(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::All(verdict) => vec![crate::reading::word(verdict)],
        Outcome::Each(verdicts) => verdicts.iter().map(crate::reading::word).collect(),
    }
}

/// Whether every event was delivered.
pub fn delivered(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::All(verdict) => *verdict == Verdict::Delivered,
        Outcome::Each(verdicts) => verdicts.iter().all(|verdict| *verdict == Verdict::Delivered),
    }
}
