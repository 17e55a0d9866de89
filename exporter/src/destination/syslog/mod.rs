//! `syslog`: RFC 5424 messages over UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425).
//!
//! Promises: no message is longer than the destination's `maxBytes`, because common receivers take what is beyond their
//! own limit for another, forged message; no text of an event can end a message or a structured data element.
//! Assurance: Sent: the protocol acknowledges nothing. Over TCP and TLS, what was written less than 5 s before a
//! connection broke is sent again.

pub mod answer;
mod cef;
pub mod config;
mod message;
pub mod request;
mod secured;
pub mod send;
pub mod shape;

pub use config::{Config, Spec};
pub use send::Sender;
