//! `datadog`: the logs intake (Datadog API, "Send logs", v2).
//!
//! Promises: attributes have the names of Datadog's standard; our `status` is never theirs, which is a log's level.
//! Assurance: Accepted.

use std::time::Duration;

pub mod answer;
pub mod config;
pub mod request;
pub mod shape;

pub use config::{Config, Spec};
pub use request::Credential;

/// The intake takes no older log: an older one is not indexed, and nothing says so.
pub const MAX_AGE: Duration = Duration::from_hours(18);
/// Until when an event may be sent again, counted from its timestamp: an hour of margin for the way and for clocks.
pub const MAX_GIVE_UP_AFTER: Duration = Duration::from_hours(17);
