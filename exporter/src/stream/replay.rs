//! Reading again: a group beside that of the destination, which ends at what was the newest entry when it began.

use std::sync::Arc;

use jiff::Timestamp;

use super::link::{StreamError, script};
use super::{Group, Stream};

/// What the group of a replay is called.
const REPLAY: &str = "replay";

/// What is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The dead letters.
    DeadLetters,
    /// The stream, from a time on.
    Since(Timestamp),
}

/// How far a replay is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Its id.
    pub id: String,
    /// Events that the platform has taken again.
    pub delivered: u64,
    /// Whether all are done with.
    pub done: bool,
}

impl Stream {
    /// Begins a replay, or joins the one with this id. Gives the group that reads it again and the last entry that
    /// belongs to it; `None`: it is done.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn replay(
        &mut self,
        destination: &str,
        consumer: &str,
        id: &str,
        again: Again,
    ) -> Result<Option<(Group, String)>, StreamError> {
        let source = self.source(destination, again);
        let start = match again {
            Again::DeadLetters => "0".to_owned(),
            // The group begins after this id, so that an entry of that very millisecond is read.
            Again::Since(time) => format!("{}-{}", time.as_millisecond().max(1) - 1, u64::MAX),
        };
        let name = replay_of(destination);
        let last: String = self
            .link
            .run(
                "beginning a replay",
                script!("replay"),
                &[&source, &self.keys.replay(destination), &self.keys.state(&name)],
                |call| {
                    call.arg(&name).arg(id).arg(start);
                },
            )
            .await?;
        if last.is_empty() {
            return Ok(None);
        }
        let keys = Arc::new(self.keys.with_stream(&source));
        Ok(Some((Group::of_replay(self.link.clone(), keys, &name, destination, consumer), last)))
    }

    /// Ends a replay once no replica holds anything of it. Gives whether it has ended.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn replayed(&mut self, destination: &str, id: &str, again: Again) -> Result<bool, StreamError> {
        let source = self.source(destination, again);
        let name = replay_of(destination);
        let ended: u64 = self
            .link
            .run("ending a replay", script!("replayed"), &[&source, &self.keys.replay(destination)], |call| {
                call.arg(&name).arg(id).arg(u8::from(again == Again::DeadLetters));
            })
            .await?;
        Ok(ended == 1)
    }

    /// How far the newest replay of a destination is.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn replay_state(&mut self, destination: &str) -> Result<Option<Replayed>, StreamError> {
        let name = replay_of(destination);
        let reply: (Option<String>, Option<String>, Option<u64>) = self
            .link
            .run(
                "reading a replay",
                script!("replay_state"),
                &[&self.keys.replay(destination), &self.keys.state(&name)],
                |_| {},
            )
            .await?;
        let (id, done, delivered) = reply;
        Ok(id.map(|id| Replayed { id, done: done.as_deref() == Some("1"), delivered: delivered.unwrap_or_default() }))
    }

    /// Removes what an unfinished replay left, whose group would keep the stream from being trimmed. That a replay was done
    /// stays known.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn forget_replay(&mut self, destination: &str) -> Result<(), StreamError> {
        let name = replay_of(destination);
        let keys = [self.keys.stream(), &self.keys.state(&name)];
        self.link
            .run::<u64>("removing a replay", script!("remove"), &keys, |call| {
                call.arg(name);
            })
            .await?;
        Ok(())
    }

    fn source(&self, destination: &str, again: Again) -> String {
        match again {
            Again::DeadLetters => self.keys.dead(destination),
            Again::Since(_) => self.keys.stream().to_owned(),
        }
    }
}

/// The group of a destination's replay. No destination is called so: its id has one slash.
pub(super) fn replay_of(destination: &str) -> String {
    format!("{destination}/{REPLAY}")
}
