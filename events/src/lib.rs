//! Audit events: the one schema for everything that any part of the product says about itself.
//!
//! Promises: an [`Event`] is built from types that cannot hold an inconsistent fact (a blocked call
//! without a reason, an empty name, a control character), and always becomes a [`Record`] of at most
//! [`limits::EVENT_BYTES`]; what did not fit is cut and named in `truncated`. No event is ever
//! refused for its size: an oversized one would be a way to act without a record.
//!
//! Must never: do I/O, read a clock, or hold the content of a call (arguments, results, prompts).
//! Times, ids and sequence numbers come in as arguments.
//!
//! Emitters build an [`Event`] and write [`Record::to_json`]; readers use [`Record::from_json`].

mod call;
mod catalogue;
mod cluster;
mod cut;
mod delivery;
mod event;
pub mod limits;
mod numbers;
mod operational;
mod record;
pub mod schema;
mod text;
mod vocabulary;

pub use call::{Agent, Caller, Cost, ErrorCause, Outcome, Policy, Reason, ToolCall, User};
pub use catalogue::EventName;
pub use cluster::{ComponentLifecycle, PoolPhaseChanged, ReconciliationComplete, ResourceChanged, Scaling};
pub use delivery::{BacklogAtRisk, DeliveriesDropped, DestinationFailing, DestinationRecovered, TestEvent};
pub use event::{Body, Event, Repeat, Source};
pub use numbers::{Millis, Moment, Usd};
pub use operational::{AuthDenied, CallRef, ConfigChange, Dropped, EventsDropped, RouteNotFound, UpstreamError};
pub use record::{ReadError, Record};
pub use text::{Message, Text, TextList};
pub use vocabulary::{
    Action, ActionReason, AuthFailure, AuthMethod, Class, Component, ConfigSource, DroppedCause, LifecycleTransition,
    PoolPhase, ResourceKind, ResourceOperation, RouteCause, Severity, Status, UpstreamCause,
};

/// The version of the schema that this crate writes. A new optional key raises the minor, a removed
/// or changed one the major.
pub const SCHEMA_VERSION: &str = "1.1.0";
