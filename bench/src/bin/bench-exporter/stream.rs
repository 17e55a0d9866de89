//! The Redis of one measurement, filled before anything reads it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use redis::{Connection, Value};
use testkit::redis_server::Server;

use crate::events::Events;

/// The id of the pool.
pub const POOL: &str = "5f1c3f52-8f2e-4b63-9a75-1de6d2f7a001";
/// Commands that are sent at once.
const PAGE: usize = 1_000;
const LOOK: Duration = Duration::from_millis(50);

/// A Redis with a pool's stream.
pub struct Stream {
    server: Server,
    connection: Connection,
    events: Events,
    added: u64,
    last: String,
}

impl Stream {
    /// An empty one.
    pub fn new() -> Self {
        let server = Server::running(&[]);
        let connection = server.connect();
        Self { server, connection, events: Events::new(1), added: 0, last: "0-0".to_owned() }
    }

    /// How it is reached.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// How many events were added: they have the numbers from 1 on.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Adds events as Armor does.
    pub fn add(&mut self, count: usize) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let page = left.min(PAGE);
            let mut pipe = redis::pipe();
            for _ in 0..page {
                let event = self.events.next(jiff::Timestamp::now());
                pipe.cmd("XADD").arg(stream()).arg("*").arg("event").arg(event);
            }
            let ids: Vec<String> = pipe.query(&mut self.connection)?;
            self.last = ids.into_iter().next_back().unwrap_or_default();
            self.added += page as u64;
            left -= page;
        }
        Ok(())
    }

    /// A place in the stream, for a group that is to begin after what is there now.
    pub fn here(&self) -> (String, u64) {
        (self.last.clone(), self.added)
    }

    /// Makes a destination's group before the exporter does, so that what was added before is its backlog.
    pub fn begin(&mut self, destination: &str, after: &(String, u64)) -> Result<()> {
        let (id, read) = after;
        let mut command = redis::cmd("XGROUP");
        command.arg("CREATE").arg(stream()).arg(group(destination)).arg(id).arg("MKSTREAM");
        Ok(command.arg("ENTRIESREAD").arg(*read).query(&mut self.connection)?)
    }

    /// Forgets a destination.
    pub fn end(&mut self, destination: &str) -> Result<()> {
        redis::cmd("XGROUP").arg("DESTROY").arg(stream()).arg(group(destination)).query::<()>(&mut self.connection)?;
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(format!("*:{}*", group(destination))).query(&mut self.connection)?;
        for key in keys {
            redis::cmd("DEL").arg(key).query::<()>(&mut self.connection)?;
        }
        Ok(())
    }

    /// Waits until these destinations have acknowledged everything.
    pub async fn drained(
        &mut self,
        destinations: &[&str],
        limit: Duration,
        mut alive: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let begin = Instant::now();
        loop {
            let mut left = 0;
            for destination in destinations {
                left += self.backlog(destination)?;
            }
            if left == 0 {
                return Ok(());
            }
            alive()?;
            if begin.elapsed() > limit {
                bail!("{left} events are not delivered after {limit:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn backlog(&mut self, destination: &str) -> Result<u64> {
        let groups: Vec<std::collections::HashMap<String, Value>> =
            redis::cmd("XINFO").arg("GROUPS").arg(stream()).query(&mut self.connection)?;
        let name = group(destination);
        for mut group in groups {
            let mut take = |field: &str| group.remove(field).unwrap_or(Value::Nil);
            if redis::from_redis_value::<String>(take("name"))? == name {
                let pending: u64 = redis::from_redis_value(take("pending"))?;
                let read: u64 = redis::from_redis_value(take("entries-read"))?;
                return Ok(pending + self.added.saturating_sub(read));
            }
        }
        bail!("the group {name} is gone")
    }
}

fn stream() -> String {
    format!("audit:{{{POOL}}}:events")
}

fn group(destination: &str) -> String {
    format!("soc/{destination}")
}
