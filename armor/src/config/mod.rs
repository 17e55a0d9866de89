//! Configuration: `armor.yaml` in one directory and secrets, by bare file name, in another.
//!
//! Promises: what is accepted is complete and consistent; a refusal names file, line, column and path, and
//! never a secret's value. Must never do I/O outside of [`load`] and [`watch`].

pub mod load;
pub mod schema;
pub mod types;
pub mod watch;

pub use load::{ConfigError, Files, Loaded};
pub use schema::Document;
