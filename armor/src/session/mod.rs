//! Sessions of legacy clients.
//!
//! Promises: every replica serves every session, because its id carries what is needed. What is kept here
//! (sessions with servers) can be lost at any time and is opened again. Must never accept an id of another
//! principal, nor one that this pool did not seal.

pub mod ended;
pub mod seal;
pub mod store;

pub use seal::{Sealer, Ticket};
pub use store::{Session, Sessions};
