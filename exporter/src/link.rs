//! The connection to the pool's Redis, made again whenever its settings change, and the doorbell that says that something
//! was added.

use std::sync::Arc;
use std::time::Duration;

use daemon::redis::Settings;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stream::{Bell, Keys, Stream};

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two rings: a busy stream rings no more often.
const RING: Duration = Duration::from_millis(20);

/// Where to connect, and which stream.
pub type Target = Option<(Settings, Arc<Keys>)>;

/// Connects, and rings. Runs until told to stop.
pub async fn run(
    mut target: watch::Receiver<Target>,
    stream: watch::Sender<Option<Stream>>,
    bell: watch::Sender<u64>,
    stop: CancellationToken,
) -> &'static str {
    loop {
        let wanted = target.borrow_and_update().clone();
        let work = async {
            let Some((settings, keys)) = wanted else { return std::future::pending().await };
            let connected = loop {
                match Stream::connect(&settings, keys.clone()).await {
                    Ok(connected) => break connected,
                    Err(error) => tracing::warn!(%error, "Redis can not be reached"),
                }
                tokio::time::sleep(AGAIN).await;
            };
            tracing::info!("connected to Redis");
            stream.send_replace(Some(connected));
            ring(&settings, &keys, &bell).await
        };
        tokio::select! {
            () = stop.cancelled() => return "redis",
            changed = target.changed() => if changed.is_err() { return "redis" },
            () = work => {}
        }
    }
}

/// Rings whenever the stream has something new. While this can not be told, workers look by themselves.
async fn ring(settings: &Settings, keys: &Keys, bell: &watch::Sender<u64>) {
    loop {
        if let Err(error) = listen(settings, keys, bell).await {
            tracing::debug!(%error, "the doorbell waits for Redis");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn listen(settings: &Settings, keys: &Keys, bell: &watch::Sender<u64>) -> Result<(), crate::stream::StreamError> {
    let mut waiting = Bell::connect(settings, keys).await?;
    loop {
        if waiting.rings().await? {
            bell.send_modify(|rings| *rings = rings.wrapping_add(1));
            tokio::time::sleep(RING).await;
        }
    }
}
