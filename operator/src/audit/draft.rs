//! An event before it has a number, and the id that follows from what happened.

use events::{Body, Event, Moment, Record, Source};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sha2::{Digest, Sha256};
use ulid::Ulid;

/// The object that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Uid of the pool whose stream the event goes into.
    pub pool: &'a str,
    /// Uid of the object.
    pub uid: &'a str,
    /// Its generation.
    pub generation: i64,
}

/// An event that has happened, and no place in the stream yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// When it happened, in whole seconds.
    pub at: Moment,
    /// Derived: see [`Draft::new`].
    pub id: Ulid,
    /// What happened.
    pub body: Body,
}

impl Draft {
    /// An event of `subject` that happened at `at`.
    ///
    /// The id is a ULID whose time is `at` and whose 80 random bits are the first of the SHA-256 over pool, object,
    /// generation, event and `at`: whoever sees the same transition makes the same id. Kubernetes keeps times in whole
    /// seconds, so finer parts are dropped: what was computed before a status was written and what is computed from it
    /// are the same. Two equal transitions within one second are one event.
    #[must_use]
    pub fn new(subject: Subject<'_>, at: &Time, body: Body) -> Self {
        let second = jiff::Timestamp::from_second(at.0.as_second()).unwrap_or(at.0);
        let at = Moment::new(second);
        let mut hash = Sha256::new();
        let (generation, time) = (subject.generation.to_string(), second.as_second().to_string());
        for part in [subject.pool, subject.uid, &generation, &what(&body), &time] {
            hash.update(part.as_bytes());
            // No uid, number or word has this byte in it, so no two lists of parts are hashed as the same bytes.
            hash.update([0]);
        }
        let random = hash.finalize().iter().take(10).fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        Self { at, id: Ulid::from_parts(at.unix_ms(), random), body }
    }

    /// The event under its number in the stream.
    #[must_use]
    pub fn event(self, seq: u64) -> Event {
        Event { id: self.id, at: self.at, seq, repeat: None, body: self.body }
    }

    /// The flat form of the event.
    #[must_use]
    pub fn record(self, source: &Source, seq: u64) -> Record {
        self.event(seq).into_record(source)
    }
}

/// The event, with what tells it from others of its name at the same object and time.
fn what(body: &Body) -> String {
    let name = body.name().as_str();
    match body {
        Body::ComponentLifecycle(event) => {
            format!("{name}/{}/{}", event.component.as_str(), event.transition.as_str())
        }
        Body::Scaling(event) => format!("{name}/{}/{}/{}", event.component.as_str(), event.ready, event.desired),
        Body::ReconciliationComplete(event) => {
            format!("{name}/{}", event.error.as_ref().map_or("", events::Text::as_str))
        }
        Body::PoolPhaseChanged(event) => format!("{name}/{}", event.to.as_str()),
        Body::ConfigChange(event) => format!("{name}/{}", event.revision),
        Body::ResourceChanged(event) => format!("{name}/{}", event.operation.as_str()),
        _ => name.to_owned(),
    }
}
