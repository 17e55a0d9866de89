//! The exporter's own events.

use std::sync::atomic::{AtomicU64, Ordering};

use events::{Body, Component, Event, Moment, Record, Source, Text};
use jiff::Timestamp;
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
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let event = Event { id: Ulid::new(), at: Moment::new(Timestamp::now()), seq, repeat: None, body };
        let record = event.into_record(&self.source);
        let json = record.to_json();
        (record, json)
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
