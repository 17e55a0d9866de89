//! The pool's audit stream in Redis: consumer groups, leases, exact counting of what is lost, dead letters.
//!
//! Promises: what is read stays pending until it is acknowledged or buried, whoever dies; an entry is claimed only from a
//! consumer whose lease has lapsed; every entry that a trim took before it was read is counted once, exactly. Must never
//! delete an entry of the stream but by [`Stream::trim`], nor make a group start later than where it was.
//!
//! Every step is one script, so that no two replicas see half of it. Redis 7.0 or later, or Valkey.

mod bell;
mod group;
mod keys;
mod link;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use bell::Bell;
pub use daemon::redis::Settings;
pub use group::{Claimed, Dead, Entry, Group, Lost, Opened, Read};
pub use keys::Keys;
pub use link::StreamError;

use link::{Link, script};

/// How long a repeat of an event of [`Stream::emit`] is known to be one.
const EMITTED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long the keys of a pool outlive its last exporter.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// What the group of a replay is called.
const REPLAY: &str = "replay";

/// A connection to the stream of one pool; clones share it.
#[derive(Clone)]
pub struct Stream {
    link: Link,
    keys: Arc<Keys>,
}

/// How it stands with one group, whichever replica reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Entries that are not acknowledged; `None`: the group does not exist, or Redis can not tell.
    pub backlog: Option<u64>,
    /// Of these, entries that some consumer has read.
    pub pending: u64,
    /// Dead letters that are kept.
    pub dead: u64,
    /// Events that the platform has taken.
    pub delivered: u64,
    /// Events that the platform will never take.
    pub dropped: u64,
    /// Events that were trimmed before they were read.
    pub lost: u64,
    /// Events that were trimmed after they were read and before they were acknowledged.
    pub possibly_lost: u64,
    /// When the platform last took an event.
    pub last_delivered: Option<Timestamp>,
    /// What the replica that last had news said: see [`Stream::note`].
    pub note: Option<Note>,
}

/// How it stands with a destination, as one replica told the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The state in one word.
    pub condition: String,
    /// The code of the last answer that was no success.
    pub code: Option<String>,
    /// The field that is wrong.
    pub field: Option<String>,
}

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
    /// Connects.
    ///
    /// # Errors
    /// Redis can not be reached.
    pub async fn connect(settings: &Settings, keys: Arc<Keys>) -> Result<Self, StreamError> {
        Ok(Self { link: Link::connect(settings).await?, keys })
    }

    /// The group of a destination, read by this consumer.
    #[must_use]
    pub fn group(&self, destination: &str, consumer: &str) -> Group {
        Group::new(self.link.clone(), self.keys.clone(), destination, consumer)
    }

    /// Removes a group with its figures and dead letters: the destination is no longer named.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn remove(&mut self, destination: &str) -> Result<(), StreamError> {
        let keys = [
            self.keys.stream(),
            &self.keys.state(destination),
            &self.keys.dead(destination),
            &self.keys.replay(destination),
        ];
        self.link
            .run::<u64>("removing a group", script!("remove"), &keys, |call| {
                call.arg(destination);
            })
            .await?;
        Ok(())
    }

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

    /// Adds an event unless one with its id was added before. Gives whether it was.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn emit(&mut self, event_id: &str, event: &[u8]) -> Result<bool, StreamError> {
        let keys = [self.keys.stream(), &self.keys.emitted(event_id)];
        let added: u64 = self
            .link
            .run("adding an event", script!("emit"), &keys, |call| {
                call.arg(event).arg(EMITTED_FOR.as_secs());
            })
            .await?;
        Ok(added == 1)
    }

    /// How it stands with a destination's group.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn state(&mut self, destination: &str) -> Result<State, StreamError> {
        let keys = [self.keys.stream(), &self.keys.state(destination), &self.keys.dead(destination)];
        let reply: (i64, u64, u64, HashMap<String, String>) = self
            .link
            .run("reading a state", script!("state"), &keys, |call| {
                call.arg(destination);
            })
            .await?;
        let (backlog, pending, dead, mut fields) = reply;
        let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok());
        let counter = |name: &str| number(name).unwrap_or_default();
        Ok(State {
            backlog: u64::try_from(backlog).ok(),
            pending,
            dead,
            delivered: counter("delivered"),
            dropped: counter("dropped"),
            lost: counter("lost"),
            possibly_lost: counter("possibly_lost"),
            last_delivered: number("last_delivered_ms")
                .and_then(|ms| Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()),
            note: fields.remove("condition").map(|condition| Note {
                condition,
                code: fields.remove("code").filter(|code| !code.is_empty()),
                field: fields.remove("field").filter(|field| !field.is_empty()),
            }),
        })
    }

    /// Tells the other replicas how it stands.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn note(&mut self, destination: &str, note: &Note) -> Result<(), StreamError> {
        self.link
            .run::<u64>("noting a condition", script!("note"), &[&self.keys.state(destination)], |call| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                call.arg(&note.condition).arg(text(&note.code)).arg(text(&note.field));
            })
            .await?;
        Ok(())
    }

    /// Sets or clears a flag of a destination. Gives whether that changed anything: of several replicas, one is told so.
    /// Within `quiet` after it was cleared it is not set: a replica may know less than the one that cleared it.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn flag(
        &mut self,
        destination: &str,
        flag: &str,
        on: bool,
        quiet: Duration,
    ) -> Result<bool, StreamError> {
        let changed: u64 = self
            .link
            .run("setting a flag", script!("flag"), &[&self.keys.state(destination)], |call| {
                call.arg(flag).arg(u8::from(on)).arg(u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX));
            })
            .await?;
        Ok(changed == 1)
    }

    /// The destinations that have a group.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn groups(&mut self) -> Result<Vec<String>, StreamError> {
        self.link.run("listing groups", script!("groups"), &[self.keys.stream()], |_| {}).await
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

    /// Whether a flag is set: see [`Stream::flag`].
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn is_flagged(&mut self, destination: &str, name: &str) -> Result<bool, StreamError> {
        let keys = [self.keys.state(destination)];
        let set: u64 = self
            .link
            .run("reading a flag", script!("flagged"), &[&keys[0]], |call| {
                call.arg(name);
            })
            .await?;
        Ok(set == 1)
    }

    /// Counts events that no route of an export took. Gives how many there were in all.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn unrouted(&mut self, export: &str, more: u64) -> Result<u64, StreamError> {
        self.link
            .run("counting unrouted events", script!("unrouted"), &[&self.keys.export(export)], |call| {
                call.arg(more);
            })
            .await
    }

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
fn replay_of(destination: &str) -> String {
    format!("{destination}/{REPLAY}")
}
