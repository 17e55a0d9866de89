//! The conversation with Redis.
//!
//! Promises: every call has a timeout of its own, because the client's does not cover everything (a
//! connection that was accepted and never answered). Must never retry: whether a lost answer means a
//! lost entry is for the caller to find out.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, ServerErrorKind, aio::MultiplexedConnection};
use serde::Deserialize;
use tokio::time::timeout;
use ulid::Ulid;

use super::{super::settings::Target, Entry};

/// For a connection and its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one command or pipeline.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// Entries of one page of [`Link::page`]; at 16 KiB each that is 8 MiB.
const PAGE: usize = 500;
/// How long the stream outlives its last write.
const STREAM_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The field of a stream entry that holds the JSON.
const FIELD: &str = "event";

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("{0} took longer than {limit} s", limit = COMMAND_TIMEOUT.as_secs())]
    Timeout(&'static str),
    #[error("{step}: {source}")]
    Redis { step: &'static str, source: RedisError },
}

/// The id of a stream entry: milliseconds of Redis's clock, and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId {
    ms: u64,
    number: u64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

impl FromStr for StreamId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ms, number) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self { ms: ms.parse()?, number: number.parse()? })
    }
}

/// How much of Redis's memory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    used: u64,
    /// 0: no limit.
    max: u64,
}

impl Memory {
    /// The share of `maxmemory` from which limits and sessions need the rest.
    const SHARE_PERCENT: u64 = 80;

    pub(super) fn has_room(self) -> bool {
        self.max == 0 || u128::from(self.used) * 100 < u128::from(self.max) * u128::from(Self::SHARE_PERCENT)
    }

    /// From the text of `INFO memory`.
    fn parse(info: &str) -> Self {
        let value = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok()).unwrap_or(0)
        };
        Self { used: value("used_memory"), max: value("maxmemory") }
    }
}

/// An entry that is in the stream.
pub(super) struct Found {
    pub(super) at: StreamId,
    pub(super) event_id: Option<Ulid>,
}

pub(super) struct Link {
    connection: MultiplexedConnection,
    target: Arc<Target>,
}

/// A stream entry as Redis gives it: id and fields.
type RawEntry = (String, Vec<(String, Vec<u8>)>);

impl Link {
    pub(super) async fn connect(target: Arc<Target>) -> Result<Self, LinkError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(COMMAND_TIMEOUT));
        let connection =
            bounded("connecting", target.client.get_multiplexed_async_connection_with_config(&config)).await?;
        Ok(Self { connection, target })
    }

    /// Adds entries in one pipeline. The outer error means that it is unknown which were added; the inner
    /// ones are refusals of single entries.
    pub(super) async fn append<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a Entry>,
        mean_entry_bytes: f64,
        refresh_lifetime: bool,
    ) -> Result<Vec<RedisResult<StreamId>>, LinkError> {
        let max_length = (self.target.stream_max_bytes as f64 / mean_entry_bytes).max(1.0) as u64;
        let key = &self.target.stream;
        let mut pipe = redis::pipe();
        for entry in entries {
            pipe.cmd("XADD").arg(key).arg(&["MAXLEN", "~"]).arg(max_length).arg("*").arg(FIELD).arg(&entry.json[..]);
        }
        if refresh_lifetime {
            pipe.cmd("EXPIRE").arg(key).arg(STREAM_LIFETIME.as_secs()).ignore();
        }
        let replies: Vec<RedisResult<String>> =
            bounded("adding events", pipe.ignore_errors().query_async(&mut self.connection)).await?;
        Ok(replies
            .into_iter()
            // An id that cannot be read is no reason to add the entry twice.
            .map(|reply| reply.map(|id| id.parse().unwrap_or_default()))
            .collect())
    }

    /// The id of the newest entry, or 0-0.
    pub(super) async fn newest(&mut self) -> Result<StreamId, LinkError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.target.stream).arg(&["+", "-", "COUNT", "1"]);
        let entries: Vec<(String, redis::Value)> =
            bounded("reading the stream's end", command.query_async(&mut self.connection)).await?;
        Ok(entries.first().and_then(|(id, _)| id.parse().ok()).unwrap_or_default())
    }

    /// Up to 500 entries, from `start` on or after it.
    pub(super) async fn page(&mut self, start: StreamId, exclusive: bool) -> Result<Vec<Found>, LinkError> {
        #[derive(Deserialize)]
        struct Identity {
            event_id: Ulid,
        }
        let start = format!("{}{start}", if exclusive { "(" } else { "" });
        let mut command = redis::cmd("XRANGE");
        command.arg(&self.target.stream).arg(start).arg(&["+", "COUNT"]).arg(PAGE);
        let entries: Vec<RawEntry> = bounded("reading the stream", command.query_async(&mut self.connection)).await?;
        Ok(entries
            .into_iter()
            .filter_map(|(id, fields)| {
                let at = id.parse().ok()?;
                let event_id = fields
                    .iter()
                    .find(|(name, _)| name == FIELD)
                    .and_then(|(_, json)| serde_json::from_slice::<Identity>(json).ok())
                    .map(|identity| identity.event_id);
                Some(Found { at, event_id })
            })
            .collect())
    }

    /// How much memory is used. A Redis that does not tell (some services forbid INFO) has no limit here;
    /// it refuses writes itself when it is full.
    pub(super) async fn memory(&mut self) -> Result<Memory, LinkError> {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let reply: Result<String, LinkError> =
            bounded("asking for memory", command.query_async(&mut self.connection)).await;
        match reply {
            Ok(info) => Ok(Memory::parse(&info)),
            Err(LinkError::Redis { source, .. }) if is_refusal(&source) => Ok(Memory { used: 0, max: 0 }),
            Err(error) => Err(error),
        }
    }
}

/// Whether Redis itself said no, so that the connection is sound.
fn is_refusal(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Extension | ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError)
    )
}

/// Whether Redis refused a write because it has no memory left.
pub(super) fn is_full(error: &RedisError) -> bool {
    error.code() == Some("OOM")
}

async fn bounded<T>(step: &'static str, call: impl Future<Output = RedisResult<T>>) -> Result<T, LinkError> {
    match timeout(COMMAND_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(LinkError::Redis { step, source }),
        Err(_) => Err(LinkError::Timeout(step)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_ends_at_eighty_percent_of_maxmemory() {
        let room = |used, max| {
            let info = format!(
                "# Memory\r\nused_memory:{used}\r\nused_memory_human:1M\r\nmaxmemory:{max}\r\nmaxmemory_policy:noeviction\r\n"
            );
            Memory::parse(&info).has_room()
        };
        assert!(room(799, 1_000));
        assert!(!room(800, 1_000));
        assert!(room(u64::MAX, 0));
        assert!(!room(u64::MAX, u64::MAX));
    }

    #[test]
    fn stream_ids_sort_as_redis_sorts_them() {
        let id = |text: &str| text.parse::<StreamId>().unwrap();
        assert!(id("9-10") < id("10-0"));
        assert!(id("10-2") < id("10-10"));
        assert_eq!(id("10-2").to_string(), "10-2");
    }
}
