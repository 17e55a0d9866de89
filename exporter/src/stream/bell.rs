//! Waiting for something to be added to the stream, on a connection of its own: a command that blocks holds up all others
//! of its connection.

use std::time::Duration;

use daemon::redis::Settings;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::keys::Keys;
use super::link::{CONNECT_TIMEOUT, StreamError, bounded};

/// How long Redis waits before it says that nothing came.
const BLOCK: Duration = Duration::from_secs(5);
/// How long its answer may take beyond that.
const MARGIN: Duration = Duration::from_secs(3);

/// One who waits.
pub struct Bell {
    connection: MultiplexedConnection,
    stream: String,
    /// The newest entry that was rung for.
    last: String,
}

impl Bell {
    /// Connects.
    ///
    /// # Errors
    /// Redis can not be reached.
    pub async fn connect(settings: &Settings, keys: &Keys) -> Result<Self, StreamError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(BLOCK + MARGIN));
        let client = settings.client()?;
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        let connection = bounded("connecting", connection).await?;
        let mut bell = Self { connection, stream: keys.stream().to_owned(), last: String::new() };
        bell.last = bell.newest().await?;
        Ok(bell)
    }

    /// Waits, for some seconds at most. Gives whether something came.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn rings(&mut self) -> Result<bool, StreamError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.stream).arg(&self.last);
        let step = "waiting for events";
        let came: redis::Value = match timeout(BLOCK + MARGIN, command.query_async(&mut self.connection)).await {
            Ok(reply) => reply.map_err(|source| StreamError::Redis { step, source })?,
            Err(_) => return Err(StreamError::Timeout { step }),
        };
        if came == redis::Value::Nil {
            return Ok(false);
        }
        // What comes after this is rung for again.
        self.last = self.newest().await?;
        Ok(true)
    }

    async fn newest(&mut self) -> Result<String, StreamError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.stream).arg("+").arg("-").arg("COUNT").arg(1);
        let entries: Vec<(String, redis::Value)> =
            bounded("reading the newest entry", command.query_async(&mut self.connection)).await?;
        Ok(entries.into_iter().next().map_or_else(|| "0".to_owned(), |(id, _)| id))
    }
}
