//! What a platform's answer means for the events that were sent.
//!
//! Promises: every body is read to the end of what the platform documents, because a 2xx is not a delivery; what is kept of an
//! answer is its HTTP status and a code that the platform documents, never its text (the text may echo an event, or
//! what another service said).

use std::borrow::Cow;
use std::time::Duration;

/// One answer, read whole (the caller bounds the body) and with a body that is already decompressed.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The HTTP status; gRPC codes have their own way in.
    pub status: http::StatusCode,
    /// The headers.
    pub headers: &'a http::HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

/// A short documented code: `hec-7`, `http-503`, `ThrottlingException`. Of the characters `[A-Za-z0-9._-]`, at most 64.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code(Cow<'static, str>);

impl Code {
    /// A code of the platform's documentation, known at compile time.
    #[must_use]
    pub const fn fixed(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// A code made from a number of the answer: `prefix-number`.
    #[must_use]
    pub fn number(prefix: &'static str, number: i64) -> Self {
        Self(Cow::Owned(format!("{prefix}-{number}")))
    }

    /// As it is written into status, metrics and logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What to do with a batch, or with one event of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The platform has it, as far as its protocol can say.
    Delivered,
    /// Send the same again later; not before `after`, where the platform said so.
    Retry {
        /// Why.
        code: Code,
        /// `Retry-After`, or the platform's own form of it.
        after: Option<Duration>,
    },
    /// Refused as a whole, and some of it may be acceptable: send halves. One event alone: it is the offending one.
    Split {
        /// Why.
        code: Code,
    },
    /// Will never be accepted: count it, dead-letter it.
    Drop {
        /// Why.
        code: Code,
    },
    /// The credential was refused: hold everything, probe slowly, read the secret again.
    Auth {
        /// Why.
        code: Code,
    },
    /// The destination is set up wrongly (index, stream, bus, path): hold everything and name the field.
    Config {
        /// Why.
        code: Code,
        /// The field of the destination's block that is to be looked at: `index`, `streamName`.
        field: &'static str,
    },
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The same for every event.
    All(Verdict),
    /// One verdict per event, in the order of the request.
    Each(Vec<Verdict>),
}
