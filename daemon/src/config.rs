//! What the configurations of all processes have in common. Must never hold a secret: secrets are named by file.

use serde::{Deserialize, Serialize};

use crate::values::FileName;

/// Whose process this is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// UID of the Pool object.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// Where the operator comes in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admin {
    /// TCP port. Can not be changed without a restart.
    pub port: u16,
    /// Bearer token of what is not for everybody.
    pub token_file: FileName,
}
