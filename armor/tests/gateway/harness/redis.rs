//! A real Redis.

use std::process::{Child, Command, Stdio};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use serde_json::Value;
use tempfile::TempDir;

use super::{PATIENCE, eventually, free_port};

pub const STREAM: &str = "audit:{0d3f2c1a-pool}:events";

pub struct Redis {
    pub url: String,
    child: Child,
    _folder: TempDir,
}

impl Redis {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One with more arguments.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1", "--dir"])
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let redis = Self { url: format!("redis://127.0.0.1:{port}"), child, _folder: folder };
        eventually("redis", async || redis.connection().await).await;
        redis
    }

    async fn connection(&self) -> Option<MultiplexedConnection> {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        // The client's own half second is short for a whole stream.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        client.get_multiplexed_async_connection_with_config(&config).await.ok()
    }

    /// Runs one command.
    pub async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.connection().await.unwrap();
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.unwrap()
    }

    /// All events of the trail.
    pub async fn events(&self) -> Vec<Value> {
        let mut connection = self.connection().await.unwrap();
        let range: StreamRangeReply =
            redis::cmd("XRANGE").arg(STREAM).arg("-").arg("+").query_async(&mut connection).await.unwrap();
        let parse = |value: &redis::Value| match value {
            redis::Value::BulkString(bytes) => serde_json::from_slice(bytes).ok(),
            _ => None,
        };
        range.ids.iter().filter_map(|entry| entry.map.values().find_map(parse)).collect()
    }

    /// Events of one kind, once there are so many.
    pub async fn await_events(&self, event: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} events {event}"), async || {
            let mut events = self.events().await;
            events.retain(|e| e["event"] == event);
            (events.len() >= count).then_some(events)
        })
        .await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
