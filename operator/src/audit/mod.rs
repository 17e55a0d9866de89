//! Audit events of the operator: what happened to a pool, into the pool's own stream, by way of its exporter.
//!
//! Promises: an event is made from a transition and not from a look, so a steady cluster is silent; its id follows from
//! what happened and when, so telling it again gives the same event; events of a pool go out in order, each until it is
//! taken or its place is needed, and what is dropped is counted. Memory is used for pools that have something to tell,
//! and is bounded for all of them together.
//!
//! Must never hold a value of a spec or of a Secret, and never delay a reconcile: telling is a push into memory, and
//! [`deliver`] does the rest.
//!
//! What waits here is lost when the process is killed. A stop that is asked for tries to deliver it first.

pub mod changes;
mod delivery;
mod draft;
pub mod resource;
mod sink;
mod spool;
mod trail;

pub use changes::{Changes, Outcome, Round, pool_changes, server_changes, with_outcome};
pub use delivery::deliver;
pub use draft::{Draft, Subject};
pub use sink::{Sink, SinkError};
pub use spool::{Batch, Limits, Loss, Spool};
pub use trail::{PoolId, Trail};
