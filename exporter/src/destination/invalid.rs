//! Why a destination's block or credential can not be used.

/// A field, and what it must be. The value is not repeated: it may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field of the block, as it is written: `address`, `headers[].name`; or the secret's: `tokenSecretRef`.
    pub field: &'static str,
    /// What it must be.
    pub problem: String,
}

impl Invalid {
    /// A field, and what it must be.
    pub fn new(field: &'static str, problem: impl ToString) -> Self {
        Self { field, problem: problem.to_string() }
    }
}
