//! The consumer group of one destination, read by one consumer of possibly several.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use events::DroppedCause;
use jiff::Timestamp;
use tokio::time::Instant;

use super::keys::Keys;
use super::link::{Link, StreamError, script};

/// How long a consumer counts as alive after it was last heard of.
pub const LEASE: Duration = Duration::from_secs(30);
/// A consumer stops sending this long before others may claim what it has.
const MARGIN: Duration = Duration::from_secs(5);
/// Dead letters that are kept of a group, about; at most 16 KiB each.
const DEAD_LETTERS: usize = 1_000;

/// An entry of the stream as Redis gives it: id, and names and values of its fields.
type RawEntry = (String, Vec<(String, Bytes)>);

/// An event of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id in the stream, by which it is acknowledged.
    pub id: String,
    /// Its JSON; empty where the entry is not one that Armor wrote.
    pub event: Bytes,
}

/// What a read gave.
#[derive(Debug, Default)]
pub struct Read {
    /// New entries, oldest first.
    pub entries: Vec<Entry>,
    /// How many went before they could be read, exactly.
    pub lost: u64,
}

/// What was taken over.
#[derive(Debug, Default)]
pub struct Claimed {
    /// How many entries were this consumer's before.
    pub own: u64,
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// Pending entries whose content a trim has taken: delivered or not, nobody knows.
    pub possibly_lost: u64,
}

/// An event that a platform will never take.
#[derive(Clone, Debug)]
pub struct Dead<'a> {
    /// Of the stream.
    pub id: &'a str,
    /// Its JSON.
    pub event: &'a [u8],
    /// Why, and the event's time; `None`: its loss is not told.
    pub loss: Option<(DroppedCause, Timestamp)>,
}

/// How a group was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It was there.
    Found,
    /// It was made, from now on.
    New,
    /// It had been there and was not any more: it was made at the beginning of what Redis still has.
    Again,
}

/// The group of one destination, as one consumer reads it. A clone acknowledges beside it; of the lease it knows what was known
/// when it was made.
#[derive(Clone)]
pub struct Group {
    link: Link,
    keys: Arc<Keys>,
    destination: String,
    consumer: String,
    lease: String,
    state: String,
    /// Where what the platform will never take goes.
    grave: String,
    /// Until when nobody else claims what this consumer has.
    valid_until: Option<Instant>,
    /// This process has had the group.
    had: bool,
}

impl Group {
    pub(super) fn new(link: Link, keys: Arc<Keys>, destination: &str, consumer: &str) -> Self {
        Self {
            lease: keys.lease(destination, consumer),
            state: keys.state(destination),
            grave: keys.dead(destination),
            destination: destination.to_owned(),
            consumer: consumer.to_owned(),
            link,
            keys,
            valid_until: None,
            had: false,
        }
    }

    /// The group that reads something again for a destination, whose dead letters it makes.
    pub(super) fn of_replay(link: Link, keys: Arc<Keys>, name: &str, destination: &str, consumer: &str) -> Self {
        let grave = keys.dead(destination);
        Self { grave, ..Self::new(link, keys, name, consumer) }
    }

    /// This process has had the group before, perhaps in another Redis.
    #[must_use]
    pub fn had_before(mut self, had: bool) -> Self {
        self.had |= had;
        self
    }

    /// Makes sure that the group exists. A new one begins with the next event.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn open(&mut self, now: Timestamp) -> Result<Opened, StreamError> {
        let keys = [self.keys.stream(), &self.state];
        let (destination, had) = (&self.destination, if self.had { "1" } else { "0" });
        let opened: String = self
            .link
            .run("opening a group", script!("open"), &keys, |call| {
                call.arg(destination).arg(had).arg(now.as_millisecond());
            })
            .await?;
        self.had = true;
        Ok(match opened.as_str() {
            "new" => Opened::New,
            "again" => Opened::Again,
            _ => Opened::Found,
        })
    }

    /// Reads at most `count` new entries, which are this consumer's from then on, and prolongs its lease. With a `count` of 0
    /// it only counts what was lost.
    ///
    /// # Errors
    /// [`StreamError::NoGroup`]: see [`Group::open`].
    pub async fn read(&mut self, count: usize) -> Result<Read, StreamError> {
        let began = Instant::now();
        let read = self.begin_read(count).await?;
        self.prolonged(began);
        Ok(read)
    }

    /// The same for one who does something else meanwhile, and says [`Group::prolonged`] when it is done.
    pub fn begin_read(&self, count: usize) -> impl Future<Output = Result<Read, StreamError>> + Send + use<> {
        let (keys, lease, state, mut link) =
            (self.keys.clone(), self.lease.clone(), self.state.clone(), self.link.clone());
        let (destination, consumer) = (self.destination.clone(), self.consumer.clone());
        async move {
            let (lost, entries): (u64, Vec<RawEntry>) = link
                .run("reading", script!("read"), &[keys.stream(), &lease, &state], |call| {
                    call.arg(destination).arg(consumer).arg(count).arg(millis(LEASE));
                })
                .await?;
            Ok(Read { entries: entries.into_iter().map(Entry::from).collect(), lost })
        }
    }

    /// Prolongs the lease.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn renew(&mut self) -> Result<(), StreamError> {
        let began = Instant::now();
        self.link
            .run::<u64>("renewing a lease", script!("renew"), &[&self.lease], |call| {
                call.arg(millis(LEASE));
            })
            .await?;
        self.prolonged(began);
        Ok(())
    }

    /// What this consumer has read and not acknowledged, of what comes after an id (`0` for all), at most `count`. For one
    /// whose lease had lapsed: what others have claimed meanwhile is not among it. The second value is where to go on.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn pending(&mut self, after: &str, count: usize) -> Result<(Claimed, String), StreamError> {
        let keys = [self.keys.stream(), &self.lease, &self.state];
        let (destination, consumer) = (&self.destination, &self.consumer);
        let began = Instant::now();
        let (gone, last, entries): (u64, String, Vec<RawEntry>) = self
            .link
            .run("reading what is pending", script!("pending"), &keys, |call| {
                call.arg(destination).arg(consumer).arg(after).arg(count).arg(millis(LEASE));
            })
            .await?;
        self.prolonged(began);
        let entries: Vec<Entry> = entries.into_iter().map(Entry::from).collect();
        Ok((Claimed { own: entries.len() as u64, entries, possibly_lost: gone }, last))
    }

    /// Takes over at most `count` entries of consumers whose leases have lapsed, and removes those that have none left.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn claim(&mut self, count: usize) -> Result<Claimed, StreamError> {
        let keys = [self.keys.stream(), &self.state];
        let (destination, consumer) = (&self.destination, &self.consumer);
        let leases = self.keys.leases(destination);
        let (gone, own, entries): (u64, u64, Vec<RawEntry>) = self
            .link
            .run("claiming", script!("claim"), &keys, |call| {
                call.arg(destination).arg(consumer).arg(leases).arg(count);
            })
            .await?;
        Ok(Claimed { own, entries: entries.into_iter().map(Entry::from).collect(), possibly_lost: gone })
    }

    /// The platform has these. Gives how many were still pending: of two replicas that sent the same, one counts it.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn delivered(&mut self, ids: &[impl AsRef<str>], now: Timestamp) -> Result<u64, StreamError> {
        self.acknowledge(ids, "delivered", &now.as_millisecond().to_string()).await
    }

    /// The destination does not want these.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn skipped(&mut self, ids: &[impl AsRef<str>]) -> Result<u64, StreamError> {
        self.acknowledge(ids, "skipped", "").await
    }

    /// The platform will never take these, and says so with this code: they become dead letters, and are acknowledged.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn bury(&mut self, dead: &[Dead<'_>], code: &str) -> Result<u64, StreamError> {
        let keys = [self.keys.stream(), &self.grave, &self.state];
        let destination = &self.destination;
        self.link
            .run("burying", script!("bury"), &keys, |call| {
                call.arg(destination).arg(DEAD_LETTERS).arg(code);
                for dead in dead {
                    let (cause, at) = dead.loss.map_or(("", 0), |(cause, at)| (cause.as_str(), at.as_millisecond()));
                    call.arg(dead.id).arg(dead.event).arg(cause).arg(at);
                }
            })
            .await
    }

    /// Whether nobody else claims what this consumer has: it may send.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        self.valid_until.is_some_and(|until| Instant::now() < until)
    }

    async fn acknowledge(&mut self, ids: &[impl AsRef<str>], counter: &str, at: &str) -> Result<u64, StreamError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let keys = [self.keys.stream(), &self.state];
        let destination = &self.destination;
        self.link
            .run("acknowledging", script!("acknowledge"), &keys, |call| {
                call.arg(destination).arg(counter).arg(at);
                for id in ids {
                    call.arg(id.as_ref());
                }
            })
            .await
    }

    /// Redis prolonged the lease at some time after `began`.
    pub fn prolonged(&mut self, began: Instant) {
        self.valid_until = self.valid_until.max(Some(began + LEASE - MARGIN));
    }
}

impl From<RawEntry> for Entry {
    fn from((id, fields): RawEntry) -> Self {
        let event = fields.into_iter().find(|(name, _)| name == "event").map(|(_, value)| value);
        Self { id, event: event.unwrap_or_default() }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
