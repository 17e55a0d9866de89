//! Configuration: `armor.yaml` in one directory and secrets, by bare file name, in another.
//!
//! Promises: what is accepted is complete and consistent; a refusal names file, line, column and path, and
//! never a secret's value. Must never do I/O.

pub mod load;
pub mod schema;
pub mod types;

pub use daemon::files::{ConfigError, Files};
pub use load::Loaded;
pub use schema::Document;
