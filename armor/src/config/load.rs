//! From files to a checked configuration.
//!
//! Promises: [`Loaded::parse`] is pure. Must never put a secret's value into an error or into the text that `/config`
//! shows.

use daemon::files::{ConfigError, Files, Secrets, parse_yaml};

use super::schema::{ApiKey, Auth, Document};
use super::types::Prefix;

/// Name of the configuration inside its directory.
pub const CONFIG_FILE: &str = "armor.yaml";

/// A configuration that was found to be complete and consistent.
pub struct Loaded {
    /// What `armor.yaml` says.
    pub document: Document,
    /// The keys of the key file; empty if callers are anonymous.
    pub api_keys: Vec<ApiKey>,
    /// The other secrets.
    pub secrets: Secrets,
    /// Content of `credentials-revision`.
    pub credentials_revision: Option<String>,
    /// `armor.yaml` as JSON, without what might be a credential.
    pub redacted: serde_json::Value,
    /// Hash of all files.
    pub digest: [u8; 32],
}

impl Loaded {
    /// Checks what was read.
    ///
    /// # Errors
    /// Every [`ConfigError`] but `Read` and `TooLarge`.
    pub fn parse(files: Files) -> Result<Self, ConfigError> {
        let digest = files.digest();
        let (config, secrets) = files.into_parts();
        let document = parse_document(&config)?;
        let redacted = redact(&config);
        let api_keys = match &document.auth {
            Auth::Anonymous => Vec::new(),
            // A file without entries is a pool that nobody may call yet; a missing one is a mistake.
            Auth::ApiKeys(file) => match secrets.whole(file.as_ref()) {
                None => {
                    return Err(ConfigError::SecretMissing { file: file.to_string(), field: "auth.apiKeysFile" });
                }
                Some(content) => parse_keys(file.as_ref(), content)?,
            },
        };
        let credentials_revision = secrets.revision();
        Ok(Self { document, api_keys, secrets, credentials_revision, redacted, digest })
    }
}

/// Checks the text of an `armor.yaml` alone.
///
/// # Errors
/// [`ConfigError::Invalid`].
pub fn parse_document(text: &[u8]) -> Result<Document, ConfigError> {
    let document: Document = parse_yaml(CONFIG_FILE, text)?;
    let refuse = |path: String, reason: String| ConfigError::Invalid {
        file: CONFIG_FILE.to_owned(),
        line: line_of_server(text, &path),
        column: 1,
        path,
        reason,
    };
    if document.listener.port == document.admin.port {
        let reason = format!("{} is listener.port too: write another one", document.admin.port);
        return Err(ConfigError::field(CONFIG_FILE, "admin.port", reason));
    }
    for (i, server) in document.servers.iter().enumerate() {
        if document.servers[..i].iter().any(|s| s.name == server.name) {
            return Err(refuse(
                format!("servers[{i}].name"),
                format!("'{}' is the name of an earlier server too", server.name),
            ));
        }
        if server.prefix.is_empty() && document.servers.len() > 1 {
            return Err(refuse(
                format!("servers[{i}].prefix"),
                format!(
                    "'{}' has no prefix, which only works for the one server of a pool: set one, so that names can be told apart by 'PREFIX{}'",
                    server.name,
                    Prefix::SEPARATOR
                ),
            ));
        }
    }
    Ok(document)
}

/// The line where entry N of `servers` begins, for errors that are found after the parser is done.
fn line_of_server(text: &[u8], path: &str) -> u64 {
    let index: Option<usize> =
        path.strip_prefix("servers[").and_then(|rest| rest.split(']').next()).and_then(|digits| digits.parse().ok());
    #[derive(serde::Deserialize)]
    struct Lines {
        servers: Vec<serde_saphyr::Spanned<serde_json::Value>>,
    }
    let found = index.and_then(|index| {
        let lines: Lines = serde_saphyr::from_slice(text).ok()?;
        Some(lines.servers.get(index)?.referenced.line())
    });
    found.unwrap_or(0)
}

fn parse_keys(file: &str, text: &[u8]) -> Result<Vec<ApiKey>, ConfigError> {
    if text.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    parse_yaml(file, text)
}

/// The document as JSON. It names files, not secrets, but a URL's query may hold one.
fn redact(text: &[u8]) -> serde_json::Value {
    let mut value: serde_json::Value = serde_saphyr::from_slice(text).unwrap_or(serde_json::Value::Null);
    let servers = value.get_mut("servers").and_then(|s| s.as_array_mut());
    for server in servers.into_iter().flatten() {
        if let Some(url) = server.get_mut("url")
            && let Some((before, _)) = url.as_str().and_then(|text| text.split_once('?'))
        {
            *url = format!("{before}?(redacted)").into();
        }
    }
    value
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
