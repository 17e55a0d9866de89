//! API keys: one Secret each, made by `armor api-key create`, holding a hash and never the key.

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::conditions::Problem;
use crate::world::Material;

const FIELD: &str = "spec.auth.apiKeys.secretSelector";

/// One key, as Armor reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// Name of the Secret.
    pub id: String,
    /// `sha256:` and 64 hex digits.
    pub hash: String,
    /// Who calls with it.
    pub user: String,
    /// Groups of the user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// When it ends to be valid, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Version of the Secret; not for Armor.
    #[serde(skip)]
    pub origin: String,
}

impl ApiKey {
    /// Bytes in the Secret of the copies, at most about so many.
    pub fn size(&self) -> usize {
        const FIXED: usize = 128;
        let groups: usize = self.groups.iter().map(|group| group.len() + 3).sum();
        FIXED + self.id.len() + self.hash.len() + self.user.len() + groups
    }
}

/// Reads a key from its Secret.
///
/// # Errors
/// What is wrong with the Secret. Values are never in the message.
pub fn api_key(material: &Material) -> Result<ApiKey, Problem> {
    let invalid = |key: &str, want: &str| {
        let message = format!(
            "Secret {}, which {FIELD} selects: {key} must be {want}; make the Secret with `armor api-key create`",
            material.name
        );
        Problem::new("ApiKeyInvalid", message)
    };
    let text =
        |key: &str| material.value(key).map(|value| String::from_utf8_lossy(value.expose_secret()).trim().to_owned());
    let hash = text("hash").unwrap_or_default();
    let digits = hash.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(invalid("hash", "sha256: and 64 lower-case hex digits"));
    }
    let user = text("user").filter(|user| !user.is_empty()).ok_or_else(|| invalid("user", "a name"))?;
    let expires = text("expires").filter(|time| !time.is_empty());
    if expires.as_ref().is_some_and(|time| time.parse::<Timestamp>().is_err()) {
        return Err(invalid("expires", "an RFC 3339 time such as 2027-01-01T00:00:00Z"));
    }
    let groups = text("groups").unwrap_or_default();
    Ok(ApiKey {
        id: material.name.clone(),
        user,
        groups: groups.split(',').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned).collect(),
        expires,
        hash,
        origin: material.version.clone(),
    })
}
