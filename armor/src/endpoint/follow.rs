//! Who follows the answers of servers.
//!
//! Promises: a request whose answer comes in its own stream is concluded there; one whose server lets the client
//! fetch the rest elsewhere waits for that, with its session. Must never conclude a request twice.

use std::sync::Arc;

use super::record::Record;
use crate::session::Session;
use crate::stream::relay::Follow;
use crate::stream::scan::Facts;
use crate::upstream::Fault;

/// Follows the answer to one request.
pub struct Answer {
    record: Option<Record>,
    /// Where the record waits if the client can fetch the rest; `None`: it can not.
    resumes: Option<Arc<Session>>,
}

impl Answer {
    /// Follows the answer to a request.
    #[must_use]
    pub fn new(record: Record, resumes: Option<Arc<Session>>) -> Self {
        Self { record: Some(record), resumes }
    }
}

impl Follow for Answer {
    fn passed(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.response_bytes(bytes);
        }
    }

    fn message(&mut self, facts: &Facts) {
        // Told at once: the stream may stay open long after its answer.
        if let Some(mut record) = self.record.take_if(|record| !record.is_concluded() && record.is_answer(facts)) {
            record.answered(facts);
        }
    }

    fn ended(&mut self, fault: Option<Fault>, resumable: bool) -> Option<Vec<u8>> {
        let mut record = self.record.take()?;
        if record.is_concluded() {
            return None;
        }
        if let Some(session) = self.resumes.as_ref().filter(|_| resumable) {
            // The client asks the server for the rest; an error now would take its place.
            session.park(Box::new(record));
            return None;
        }
        let fault = fault.unwrap_or_else(|| {
            Fault::protocol("the server's stream ended before its answer: see the server's own log")
        });
        let error = fault.to_rpc(record.server());
        record.failed(&fault, &error);
        let message = error.to_json(record.id());
        record.response_bytes(message.len());
        Some(message)
    }
}

/// Follows the stream of a session, in which the rest of an earlier answer may come.
pub struct Resumed(pub Arc<Session>);

impl Follow for Resumed {
    fn passed(&mut self, _: usize) {}

    fn message(&mut self, facts: &Facts) {
        if facts.is_response() {
            self.0.conclude(facts);
        }
    }

    fn ended(&mut self, _: Option<Fault>, _: bool) -> Option<Vec<u8>> {
        None
    }
}
