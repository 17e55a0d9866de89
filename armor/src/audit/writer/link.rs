//! The conversation with Redis.
//!
//! Promises: every call has a timeout of its own, because the client's does not cover everything (a
//! connection that was accepted and never answered). A batch is added and counted in one step of Redis,
//! and only if Redis's count is what the caller believes. Must never retry: whether a lost answer means a
//! lost batch is for the caller to find out.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind, aio::MultiplexedConnection,
};
use tokio::time::timeout;

use super::{super::settings::Target, Entry};

/// For a connection and its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one command or script.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the stream outlives its last write, and a count of entries too.
pub(super) const STREAM_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The field of a count.
const COUNT_FIELD: &str = "added";

static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("append.lua")));

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("{0} took longer than {limit} s", limit = COMMAND_TIMEOUT.as_secs())]
    Timeout(&'static str),
    #[error("{step}: {source}")]
    Redis { step: &'static str, source: RedisError },
    #[error("adding events: Redis refuses with {0}")]
    Refused(Refusal),
}

/// The code with which Redis refused an entry, such as `OOM`; never its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal(String);

impl Refusal {
    /// From the error's text; none of an empty one.
    fn parse(text: &str) -> Option<Self> {
        let code = text.trim_start_matches('-').split(' ').next().filter(|code| !code.is_empty())?;
        let is_code = code.len() <= 32 && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        Some(Self(if is_code { code } else { "ERR" }.to_owned()))
    }

    /// Whether Redis has no memory left.
    pub(super) fn is_full(&self) -> bool {
        self.0 == "OOM"
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a stream entry: milliseconds of Redis's clock, and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId {
    pub(super) ms: u64,
    pub(super) number: u64,
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

/// What became of a batch.
pub(super) struct Appended {
    /// What Redis had counted before. If that is not what was expected, nothing was added.
    pub(super) counted: u64,
    /// How many were added: the first ones of the batch.
    pub(super) added: usize,
    /// Entries whose ids follow each other: the first id, and how many entries of the batch come before it.
    pub(super) runs: Vec<(StreamId, u64)>,
    /// The stream's oldest entry.
    pub(super) oldest: StreamId,
    /// Why the next one was not added.
    pub(super) refusal: Option<Refusal>,
}

pub(super) struct Link {
    connection: MultiplexedConnection,
    target: Arc<Target>,
}

/// What the script answers; see there.
type RawAppended = (u64, usize, Vec<(String, u64)>, String, String);

impl Link {
    pub(super) async fn connect(target: Arc<Target>) -> Result<Self, LinkError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(COMMAND_TIMEOUT));
        let connection =
            bounded("connecting", target.client.get_multiplexed_async_connection_with_config(&config)).await?;
        Ok(Self { connection, target })
    }

    /// Where this leads.
    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Adds entries and counts them under `key`, if `expected` is what is counted there now. An error
    /// means that it is unknown whether they were added.
    pub(super) async fn append<'a>(
        &mut self,
        key: &str,
        expected: u64,
        entries: impl Iterator<Item = &'a Entry>,
        mean_entry_bytes: f64,
        refresh_lifetime: bool,
    ) -> Result<Appended, LinkError> {
        let max_length = (self.target.stream_max_bytes as f64 / mean_entry_bytes).max(1.0) as u64;
        let mut call = APPEND.prepare_invoke();
        call.key(&self.target.stream).key(key).arg(expected).arg(max_length);
        call.arg(if refresh_lifetime { STREAM_LIFETIME.as_secs() } else { 0 });
        for entry in entries {
            call.arg(&entry.json[..]);
        }
        let (counted, added, runs, oldest, refusal): RawAppended =
            bounded("adding events", call.invoke_async(&mut self.connection)).await?;
        // An id that cannot be read is no reason to add the entry twice.
        let id = |text: String| text.parse().unwrap_or_default();
        Ok(Appended {
            counted,
            added,
            runs: runs.into_iter().map(|(first, before)| (id(first), before)).collect(),
            oldest: id(oldest),
            refusal: Refusal::parse(&refusal),
        })
    }

    /// How many entries were added under `key`, if Redis knows it.
    pub(super) async fn counted(&mut self, key: &str) -> Result<Option<u64>, LinkError> {
        let mut command = redis::cmd("HGET");
        command.arg(key).arg(COUNT_FIELD);
        bounded("asking what was added", command.query_async(&mut self.connection)).await
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
        assert_eq!(id("10"), id("10-0"));
    }

    #[test]
    fn of_a_refusal_only_the_code_is_kept() {
        let code = |text| Refusal::parse(text).map(|refusal| refusal.to_string());
        assert_eq!(code(""), None);
        assert_eq!(code("OOM command not allowed when used memory > 'maxmemory'.").as_deref(), Some("OOM"));
        assert_eq!(code("-OOM command not allowed").as_deref(), Some("OOM"));
        assert_eq!(code("hunter2 is wrong").as_deref(), Some("ERR"));
        assert!(Refusal::parse("OOM x").unwrap().is_full() && !Refusal::parse("WRONGTYPE x").unwrap().is_full());
    }
}
