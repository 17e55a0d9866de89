//! What the Armor replicas of each pool say of themselves.
//!
//! The operator believes the gateways, not the objects that it wrote: a server is Ready because an Armor did the
//! handshake, and the configuration is in sync because every replica answers with its revision.

mod client;
mod observer;
mod view;

pub use observer::Observer;
pub use view::{ArmorView, Desired, Replica, ServerReport};
