//! From files to a checked configuration.
//!
//! Promises: [`Files::read`] is the only place that reads them, bounded in size; [`Loaded::parse`] is pure.
//! Must never put a secret's value into an error or into the text that `/config` shows.

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::{ExposeSecret, SecretSlice};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::schema::{ApiKey, Auth, Document};
use super::types::{FileName, Prefix};

/// Name of the configuration inside its directory.
pub const CONFIG_FILE: &str = "armor.yaml";
/// Name of the file whose content names the state of the secrets directory.
const CREDENTIALS_REVISION_FILE: &str = "credentials-revision";
/// No file of either directory may be larger: a Kubernetes object cannot be.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or directory cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which one.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file is too large.
    #[error("{path}: larger than {MAX_FILE_BYTES} bytes")]
    TooLarge {
        /// Which one.
        path: String,
    },
    /// A file does not say what it must.
    #[error("{file}:{}{reason}", Place(*line, *column, path))]
    Invalid {
        /// Which one.
        file: String,
        /// Counted from 1; 0 where there is none.
        line: u64,
        /// Counted from 1; 0 where there is none.
        column: u64,
        /// Path of the field, such as `servers[1].prefix`; `.` is the document.
        path: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// A secret that the whole gateway needs is missing.
    #[error("secrets directory: file '{file}' ({field}) is missing or empty")]
    SecretMissing {
        /// The file.
        file: String,
        /// The field that names it.
        field: &'static str,
    },
    /// A secret that the whole gateway needs cannot be used.
    #[error("secrets directory: file '{file}' ({field}): {reason}")]
    SecretInvalid {
        /// The file.
        file: String,
        /// The field that names it.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Where in a file: `12:3: path: `.
struct Place<'a>(u64, u64, &'a str);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 > 0 {
            write!(f, "{}:{}:", self.0, self.1)?;
        }
        f.write_str(" ")?;
        if self.2 != "." {
            write!(f, "{}: ", self.2)?;
        }
        Ok(())
    }
}

/// The content of both directories at one moment.
pub struct Files {
    config: Vec<u8>,
    secrets: Secrets,
    digest: [u8; 32],
}

impl Files {
    /// Reads both directories.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::TooLarge`].
    pub fn read(config_dir: &Path, secrets_dir: &Path) -> Result<Self, ConfigError> {
        let config = read_file(&config_dir.join(CONFIG_FILE))?;
        let mut secrets = BTreeMap::new();
        let unreadable = |source| ConfigError::Read { path: secrets_dir.display().to_string(), source };
        for entry in std::fs::read_dir(secrets_dir).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            // A volume keeps its generations in `..data` and the like.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with("..") || !entry.path().is_file() {
                continue;
            }
            secrets.insert(name, read_file(&entry.path())?);
        }
        Ok(Self::from_parts(config, secrets))
    }

    /// Files that were read elsewhere.
    #[must_use]
    pub fn from_parts(config: Vec<u8>, secrets: BTreeMap<String, Vec<u8>>) -> Self {
        let mut hasher = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        add(&config);
        for (name, value) in &secrets {
            add(name.as_bytes());
            add(value);
        }
        let secrets = secrets.into_iter().map(|(name, value)| (name, SecretSlice::from(value))).collect();
        Self { config, secrets: Secrets(secrets), digest: hasher.finalize().into() }
    }

    /// Equal for equal content.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.display().to_string(), source };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.display().to_string() });
    }
    std::fs::read(path).map_err(unreadable)
}

/// The secrets, by file name.
pub struct Secrets(BTreeMap<String, SecretSlice<u8>>);

impl Secrets {
    /// The content without its final newlines; `None` if missing or empty.
    #[must_use]
    pub fn get(&self, file: &FileName) -> Option<&[u8]> {
        self.by_name(file.as_ref())
    }

    fn by_name(&self, name: &str) -> Option<&[u8]> {
        let mut value = self.0.get(name)?.expose_secret();
        while let Some((b'\n' | b'\r', rest)) = value.split_last() {
            value = rest;
        }
        (!value.is_empty()).then_some(value)
    }

    /// The same, for a secret without which nothing can run.
    ///
    /// # Errors
    /// [`ConfigError::SecretMissing`].
    pub fn require(&self, file: &FileName, field: &'static str) -> Result<&[u8], ConfigError> {
        self.get(file).ok_or_else(|| ConfigError::SecretMissing { file: file.to_string(), field })
    }

    /// The same, as text.
    ///
    /// # Errors
    /// [`ConfigError::SecretMissing`], [`ConfigError::SecretInvalid`].
    pub fn require_text(&self, file: &FileName, field: &'static str) -> Result<&str, ConfigError> {
        std::str::from_utf8(self.require(file, field)?).map_err(|_| ConfigError::SecretInvalid {
            file: file.to_string(),
            field,
            reason: "is not text (UTF-8)".to_owned(),
        })
    }
}

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
        let document = parse_document(&files.config)?;
        let redacted = redact(&files.config);
        let secrets = files.secrets;
        let api_keys = match &document.auth {
            Auth::Anonymous => Vec::new(),
            // A file without entries is a pool that nobody may call yet; a missing one is a mistake.
            Auth::ApiKeys(file) => match secrets.0.get(file.as_ref()) {
                None => {
                    return Err(ConfigError::SecretMissing { file: file.to_string(), field: "auth.apiKeysFile" });
                }
                Some(content) => parse_keys(file.as_ref(), content.expose_secret())?,
            },
        };
        let credentials_revision =
            secrets.by_name(CREDENTIALS_REVISION_FILE).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok(Self { document, api_keys, secrets, credentials_revision, redacted, digest: files.digest })
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
        return Err(ConfigError::Invalid {
            file: CONFIG_FILE.to_owned(),
            line: 0,
            column: 0,
            path: "admin.port".to_owned(),
            reason: format!("{} is listener.port too: write another one", document.admin.port),
        });
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

fn parse_yaml<T: DeserializeOwned>(file: &str, text: &[u8]) -> Result<T, ConfigError> {
    let mut path = ".".to_owned();
    serde_saphyr::with_deserializer_from_slice(text, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    })
    .map_err(|error: serde_saphyr::Error| {
        let location = error.location();
        ConfigError::Invalid {
            file: file.to_owned(),
            line: location.map_or(0, |l| l.line()),
            column: location.map_or(0, |l| l.column()),
            path: path.clone(),
            reason: reason_of(&error),
        }
    })
}

/// The sentence alone: place is told by its own fields, and a snippet of the file could show a credential.
fn reason_of(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = match first.rfind(" at line ") {
        Some(at) => &first[..at],
        None => first,
    };
    first.to_owned()
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
