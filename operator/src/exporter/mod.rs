//! What the exporters of each pool say of themselves, and what they are asked to do.
//!
//! The operator believes the exporter, not the objects that it wrote: a SiemExport delivers because an exporter says so. The
//! figures of a destination are in the pool's Redis, so that any replica answers for all of them.

mod client;
mod observer;
mod view;

pub use client::Unavailable;
pub use observer::PoolExporters;
pub use view::{Desired, Replica};
