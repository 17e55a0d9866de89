//! Standard output. Must never hold up another destination: a collector may stop reading.

use std::io::Write as _;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{Assurance, Platform};
use crate::answer::Outcome;
use crate::cause::Cause;
use crate::destination::{Limits, Routed, Shaped, stdout};

/// Lines on standard output, for log collectors.
pub struct Stdout;

impl Platform for Stdout {
    fn shape(&self, event: &Routed<'_>) -> Shaped {
        stdout::shape::shape(event)
    }

    fn limits(&self) -> Limits {
        stdout::request::LIMITS
    }

    fn assurance(&self) -> Assurance {
        Assurance::Sent
    }

    fn send<'a>(&'a self, events: &'a [Shaped], _now: Timestamp, timeout: Duration) -> BoxFuture<'a, Outcome> {
        let lines = stdout::request::lines(events);
        // A collector that does not read must stop this destination and no other.
        let write = tokio::task::spawn_blocking(move || {
            let mut out = std::io::stdout().lock();
            out.write_all(&lines).and_then(|()| out.flush())
        });
        async move {
            match tokio::time::timeout(timeout, write).await {
                Ok(written) => {
                    stdout::answer::outcome(&written.unwrap_or_else(|error| Err(std::io::Error::other(error))))
                }
                // Nobody reads. The lines are written when somebody does, and may be written again.
                Err(_) => Outcome::All(Cause::Timeout.verdict()),
            }
        }
        .boxed()
    }
}
