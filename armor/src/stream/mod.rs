//! Answers on their way to the caller: read along, never held back.
//!
//! Promises: bytes pass unchanged and at once; what Armor has to know of them is found by reading along in
//! bounded memory. Must never wait for the end of a stream before passing its beginning on.

pub mod hold;
pub mod relay;
pub mod scan;
pub mod sse;
