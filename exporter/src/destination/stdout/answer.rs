//! What a write to standard output means.

use std::io;

use crate::answer::{Code, Outcome, Verdict};

/// A write that failed may have written some of its lines; they are written again.
#[must_use]
pub fn outcome(written: &io::Result<()>) -> Outcome {
    Outcome::All(match written {
        Ok(()) => Verdict::Delivered,
        Err(_) => Verdict::Retry { code: Code::fixed("stdout-write"), after: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_delivers_and_a_failed_one_is_tried_again() {
        assert_eq!(outcome(&Ok(())), Outcome::All(Verdict::Delivered));
        let broken = Err(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(outcome(&broken), Outcome::All(Verdict::Retry { after: None, .. })));
    }
}
