//! The `stdout` block: it has no fields.

use serde::{Deserialize, Serialize};

/// As it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {}

/// As it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {}

impl From<Spec> for Config {
    fn from(Spec {}: Spec) -> Self {
        Self {}
    }
}
