//! What the operator asks the Pods of its pools on their admin ports.
//!
//! Armor and the exporter are asked in the same way: each Pod by its address, with a bearer token from a generated Secret,
//! on a schedule of one look at a time for each pool. Every answer is bounded in time and size, and no text of one goes
//! anywhere but into the type that it is parsed as.

mod http;
mod nudge;
mod rounds;
mod tokens;

pub(crate) use http::{Failure, Http};
pub(crate) use nudge::Nudges;
pub use rounds::Rounds;
pub(crate) use rounds::{Look, Task};
pub(crate) use tokens::Tokens;
