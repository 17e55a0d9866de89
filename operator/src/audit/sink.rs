//! Where events go.

use thiserror::Error;

/// Takes events of a pool: its exporter, through `POST /v1/events`.
pub trait Sink: Send + Sync + 'static {
    /// Adds events to the stream of the pool with this uid, in this order, and says how many were added. Each is the
    /// canonical JSON of one event. Either all are taken or none counts as taken: they come again with the same ids.
    ///
    /// # Errors
    /// See [`SinkError`].
    fn post(&self, pool_uid: &str, events: &[Vec<u8>]) -> impl Future<Output = Result<u64, SinkError>> + Send;
}

/// Why events were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SinkError {
    /// The pool has no exporter, or none yet.
    #[error("the pool has no exporter")]
    Absent,
    /// It does not answer, or asks to come again: the same events may be taken later.
    #[error("the exporter does not take events now")]
    Unavailable,
    /// It refuses what was sent (HTTP 400, 413, 422), and will again.
    #[error("the exporter refuses the events")]
    Refused,
}
