//! What is done for the stream as a whole: what everybody has goes, and what nobody names any more.

use std::time::Duration;

use jiff::Timestamp;

use super::Stream;
use super::link::{StreamError, script};
use super::replay::replay_of;

/// How long the keys of a pool outlive its last exporter.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

impl Stream {
    /// Removes from the stream what every group has acknowledged and what is older than `retain`, about: whole nodes of
    /// the stream only. Gives how many entries went.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn trim(&mut self, now: Timestamp, retain: Duration) -> Result<u64, StreamError> {
        let keep = now.as_millisecond() - i64::try_from(retain.as_millis()).unwrap_or(i64::MAX);
        let keep = format!("{}-0", keep.max(0));
        self.link
            .run("trimming", script!("trim"), &[self.keys.stream()], |call| {
                call.arg(keep);
            })
            .await
    }

    /// How many entries the stream has, and how many bytes; 0 bytes where Redis does not tell.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn size(&mut self) -> Result<(u64, u64), StreamError> {
        self.link.run("measuring the stream", script!("size"), &[self.keys.stream()], |_| {}).await
    }

    /// Keeps what is remembered of these destinations and exports for another seven days.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn touch(&mut self, destinations: &[String], exports: &[String]) -> Result<(), StreamError> {
        let mut keys: Vec<String> = exports.iter().map(|export| self.keys.export(export)).collect();
        for destination in destinations {
            keys.extend([
                self.keys.state(destination),
                self.keys.dead(destination),
                self.keys.replay(destination),
                self.keys.state(&replay_of(destination)),
            ]);
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.link
            .run::<u64>("keeping keys", script!("touch"), &keys, |call| {
                call.arg(LIFETIME.as_secs());
            })
            .await?;
        Ok(())
    }

    /// The destinations that have a group.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn groups(&mut self) -> Result<Vec<String>, StreamError> {
        self.link.run("listing groups", script!("groups"), &[self.keys.stream()], |_| {}).await
    }

    /// Says that the configuration of this replica names these groups.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn name(&mut self, groups: &[String]) -> Result<(), StreamError> {
        self.link
            .run::<u64>("naming groups", script!("name"), &[&self.keys.named()], |call| {
                call.arg(LIFETIME.as_secs()).arg(groups);
            })
            .await?;
        Ok(())
    }

    /// Removes a group with its figures, its dead letters and its replay, unless a replica has named it within `span`. Gives
    /// whether it did.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn remove_unnamed(&mut self, destination: &str, span: Duration) -> Result<bool, StreamError> {
        let replay = replay_of(destination);
        let keys = [
            self.keys.stream(),
            &self.keys.named(),
            &self.keys.state(destination),
            &self.keys.dead(destination),
            &self.keys.replay(destination),
            &self.keys.state(&replay),
        ];
        let removed: u64 = self
            .link
            .run("removing a group", script!("remove_unnamed"), &keys, |call| {
                call.arg(destination).arg(&replay).arg(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
            })
            .await?;
        Ok(removed == 1)
    }
}
