//! What a write means: syslog has no answers.

use crate::answer::{Outcome, Verdict};
use crate::cause::Cause;

/// What was written whole counts as delivered; see the assurance of the module. The rest is sent again.
#[must_use]
pub fn outcome(sent: Result<(), Cause>) -> Outcome {
    Outcome::All(match sent {
        Ok(()) => Verdict::Delivered,
        Err(cause) => cause.verdict(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_delivers_and_every_failure_is_tried_again() {
        assert_eq!(outcome(Ok(())), Outcome::All(Verdict::Delivered));
        for cause in [Cause::Resolve, Cause::RefusedAddress, Cause::Connect, Cause::Timeout, Cause::Broken] {
            let expected = Verdict::Retry { code: cause.code(), after: None };
            assert_eq!(outcome(Err(cause)), Outcome::All(expected));
        }
    }
}
