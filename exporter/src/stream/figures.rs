//! What all replicas know of a destination: how it stands, what was counted, what was told.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Stream;
use super::link::{StreamError, script};

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
    /// What the replica that last had news said, while it lives: see [`Stream::note`].
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

impl Stream {
    /// How it stands with a destination's group.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn state(&mut self, destination: &str) -> Result<State, StreamError> {
        let keys = [self.keys.stream(), &self.keys.state(destination), &self.keys.dead(destination)];
        let reply: (i64, u64, u64, u64, HashMap<String, String>) = self
            .link
            .run("reading a state", script!("state"), &keys, |call| {
                call.arg(destination).arg(self.keys.leases(destination));
            })
            .await?;
        let (backlog, pending, dead, lives, mut fields) = reply;
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
            note: fields.remove("condition").filter(|_| lives == 1).map(|condition| Note {
                condition,
                code: fields.remove("code").filter(|code| !code.is_empty()),
                field: fields.remove("field").filter(|field| !field.is_empty()),
            }),
        })
    }

    /// Tells the other replicas how it stands, on behalf of a consumer of the group; it counts while that one lives. What is
    /// no `news` is told only in the place of what a consumer said that is gone.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn note(&mut self, destination: &str, note: &Note, author: &str, news: bool) -> Result<(), StreamError> {
        self.link
            .run::<u64>("noting a condition", script!("note"), &[&self.keys.state(destination)], |call| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                call.arg(&note.condition).arg(text(&note.code)).arg(text(&note.field));
                call.arg(author).arg(self.keys.leases(destination)).arg(u8::from(news));
            })
            .await?;
        Ok(())
    }

    /// Takes back what an earlier process of this consumer's name noted.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn take_back(&mut self, destination: &str, author: &str) -> Result<(), StreamError> {
        self.link
            .run::<u64>("taking back a note", script!("take_back"), &[&self.keys.state(destination)], |call| {
                call.arg(author);
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
}
