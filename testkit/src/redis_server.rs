//! A `redis-server` of the test's own, on a socket in a folder of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{Client, Connection};
use tempfile::TempDir;

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The server; killed when it is dropped.
pub struct Server {
    child: Option<Child>,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// A folder for a server that does not run yet. It saves nothing by itself.
    pub fn new(arguments: &[&str]) -> Self {
        let fixed = ["--port", "0", "--save", "", "--loglevel", "warning"];
        let arguments = fixed.iter().chain(arguments);
        Self {
            child: None,
            folder: tempfile::tempdir().unwrap(),
            arguments: arguments.map(ToString::to_string).collect(),
        }
    }

    /// One that runs.
    pub fn running(arguments: &[&str]) -> Self {
        let mut server = Self::new(arguments);
        server.start();
        server
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) {
        assert!(self.child.is_none());
        let child = Command::new("redis-server")
            .args(&self.arguments)
            .arg("--dir")
            .arg(self.folder.path())
            .arg("--unixsocket")
            .arg(self.socket())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let started = Instant::now();
        while self.try_connect().is_none() {
            assert!(started.elapsed() < PATIENCE, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it without a chance to save anything.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// `STOP` freezes it, `CONT` lets it go on.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// How it is reached.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn try_connect(&self) -> Option<Connection> {
        let mut connection = Client::open(self.url()).ok()?.get_connection().ok()?;
        // A server with a password says so, which is an answer too; one that loads its data is not there yet.
        match redis::cmd("PING").query::<String>(&mut connection) {
            Err(error) if error.code() != Some("NOAUTH") => None,
            _ => Some(connection),
        }
    }

    /// A connection.
    pub fn connect(&self) -> Connection {
        self.try_connect().unwrap()
    }

    /// Runs one command.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut self.connect()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
