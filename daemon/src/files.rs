//! What a process reads at its start and whenever it changes: a file of configuration, and a directory with a file for each
//! secret.
//!
//! Promises: [`Files::read`] is the only place that reads them, bounded in size; a refusal names file, line, column and
//! path. Must never put a secret's value into an error.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretSlice};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::values::FileName;

/// No file of either directory may be larger: a Kubernetes object cannot be.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Name of the file whose content names the state of the secrets directory.
const REVISION_FILE: &str = "credentials-revision";

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

impl ConfigError {
    /// Something that is wrong with a field, wherever it stands in its file.
    #[must_use]
    pub fn field(file: &str, path: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::Invalid { file: file.to_owned(), line: 0, column: 0, path: path.into(), reason: reason.to_string() }
    }
}

/// Where in a file: `12:3: path: `.
struct Place<'a>(u64, u64, &'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    /// Reads the file of the configuration and the directory of the secrets.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::TooLarge`].
    pub fn read(config: &Path, secrets_dir: &Path) -> Result<Self, ConfigError> {
        let config = read_file(config)?;
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

    /// The configuration, as it was read.
    #[must_use]
    pub fn config(&self) -> &[u8] {
        &self.config
    }

    /// The secrets, and the configuration before them.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Secrets) {
        (self.config, self.secrets)
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

    /// The content as it is, also an empty one; `None` if the file is missing.
    #[must_use]
    pub fn whole(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(|value| value.expose_secret())
    }

    /// The state of all of them in one word, where their writer gave it one.
    #[must_use]
    pub fn revision(&self) -> Option<String> {
        self.by_name(REVISION_FILE).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
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

/// Reads YAML strictly: what does not fit is refused with line, column and path.
///
/// # Errors
/// [`ConfigError::Invalid`], with `file` as its file.
pub fn parse_yaml<T: DeserializeOwned>(file: &str, text: &[u8]) -> Result<T, ConfigError> {
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
