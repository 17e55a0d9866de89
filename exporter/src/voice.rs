//! The exporter's own events.

use std::sync::atomic::{AtomicU64, Ordering};

use events::{Body, Component, Event, Moment, Record, Source, Text};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use ulid::Ulid;

use crate::config::Document;
use crate::stream::{Stream, StreamError};

/// Who speaks, and how many events it has made.
pub struct Voice {
    source: Source,
    seq: AtomicU64,
}

impl Voice {
    /// `None` where the pool has no id or the instance no name.
    #[must_use]
    pub fn new(document: &Document, instance: &str) -> Option<Self> {
        Some(Self {
            source: Source {
                pool_id: Text::new(&document.pool.id)?,
                pool_name: Text::new(&document.pool.name),
                pool_namespace: Text::new(&document.pool.namespace),
                cluster_id: document.cluster_id.as_deref().and_then(Text::new),
                component: Component::Exporter,
                version: Text::new(env!("CARGO_PKG_VERSION"))?,
                instance: Text::new(instance)?,
            },
            seq: AtomicU64::new(0),
        })
    }

    /// An event, and its JSON.
    #[must_use]
    pub fn event(&self, body: Body) -> (Record, Vec<u8>) {
        self.event_with_id(Ulid::new(), body)
    }

    /// The same, with an id that follows from what is told.
    #[must_use]
    pub fn event_with_id(&self, id: Ulid, body: Body) -> (Record, Vec<u8>) {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let event = Event { id, at: Moment::new(Timestamp::now()), seq, repeat: None, body };
        let record = event.into_record(&self.source);
        let json = record.to_json();
        (record, json)
    }

    /// The id of what is told with these words about this time: the same at every replica of the pool, and every time.
    #[must_use]
    pub fn id_of(&self, words: &[&str], at: Moment) -> Ulid {
        let mut hasher = Sha256::new();
        for word in [self.source.pool_id.as_str()].iter().chain(words) {
            hasher.update((word.len() as u64).to_be_bytes());
            hasher.update(word);
        }
        let mut random = [0; 16];
        // A ULID has 80 bits beside its time.
        random[6..].copy_from_slice(&hasher.finalize()[..10]);
        Ulid::from_parts(at.unix_ms(), u128::from_be_bytes(random))
    }

    /// Puts an event into the stream, where every destination gets it.
    ///
    /// # Errors
    /// [`StreamError`]
    pub async fn say(&self, stream: &mut Stream, body: Body) -> Result<(), StreamError> {
        let (record, json) = self.event(body);
        stream.emit(&record.event_id.to_string(), &json).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_of_what_is_told_is_the_same_at_every_replica_and_another_one_for_anything_else() {
        let document = |pool: &str| {
            crate::config::parse(
                format!(
                    "{{revision: r1, pool: {{id: {pool}, name: prod, namespace: gateways}}, admin: {{port: 1, tokenFile: t}}, \
                     redis: {{urlFile: u}}, audit: {{streamMaxBytes: 1, retain: 1h}}}}"
                )
                .as_bytes(),
            )
            .unwrap()
        };
        let voice = |pool, instance| Voice::new(&document(pool), instance).unwrap();
        let at = |seconds| Moment::new(Timestamp::from_second(seconds).unwrap());
        let id = voice("one", "a").id_of(&["soc/siem", "rejected", "0", "12"], at(1_795_233_600));
        assert_eq!(id, voice("one", "b").id_of(&["soc/siem", "rejected", "0", "12"], at(1_795_233_600)));
        assert_eq!(id.timestamp_ms(), 1_795_233_600_000);
        for other in [
            voice("two", "a").id_of(&["soc/siem", "rejected", "0", "12"], at(1_795_233_600)),
            voice("one", "a").id_of(&["soc/siem", "rejected", "0", "13"], at(1_795_233_600)),
            voice("one", "a").id_of(&["soc/siem", "rejected", "01", "2"], at(1_795_233_600)),
            voice("one", "a").id_of(&["soc/siem", "rejected", "0", "12"], at(1_795_233_601)),
        ] {
            assert_ne!(id, other);
        }
    }
}
