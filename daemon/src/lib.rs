//! What Armor and the exporter have in common as processes: configuration and secrets from directories that are watched,
//! logs, listeners, what their admin ports have alike, the pool's Redis, the keyed hash.
//!
//! Must never know what either of them does.

pub mod bearer;
pub mod config;
pub mod files;
pub mod hash;
pub mod listen;
pub mod logging;
pub mod process;
pub mod redis;
pub mod reply;
pub mod serve;
pub mod values;
pub mod watch;
