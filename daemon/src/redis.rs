//! How a pool's Redis is named in a configuration, and a client for it.
//!
//! Promises: settings are parsed once, here. Must never show a password or a URL that may contain one.

use std::fmt;

use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, TlsCertificates};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::files::{ConfigError, Secrets};
use crate::values::FileName;

/// The pool's Redis.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Spec {
    /// Where the URL comes from.
    pub url: Url,
    /// Password.
    pub password_file: Option<FileName>,
    /// PEM bundle that the server's certificate is checked against.
    pub ca_file: Option<FileName>,
}

/// Where the URL of Redis comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Url {
    /// Written out, without a credential.
    Plain(String),
    /// A file with the whole URL, perhaps with a credential.
    File(FileName),
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_file: Option<FileName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<FileName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<FileName>,
}

impl TryFrom<Fields> for Spec {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let url = match (fields.url, fields.url_file) {
            (Some(url), None) => {
                if !(url.starts_with("redis://") || url.starts_with("rediss://")) {
                    return Err("redis.url: write redis://HOST:PORT or rediss://HOST:PORT");
                }
                // Everybody who may read the configuration would read the credential.
                if url.contains('@') {
                    return Err("redis.url: a URL with a credential belongs into urlFile");
                }
                Url::Plain(url)
            }
            (None, Some(file)) => Url::File(file),
            _ => return Err("redis: set exactly one of 'url' and 'urlFile'"),
        };
        Ok(Self { url, password_file: fields.password_file, ca_file: fields.ca_file })
    }
}

impl From<Spec> for Fields {
    fn from(Spec { url, password_file, ca_file }: Spec) -> Self {
        let (url, url_file) = match url {
            Url::Plain(url) => (Some(url), None),
            Url::File(file) => (None, Some(file)),
        };
        Self { url, url_file, password_file, ca_file }
    }
}

/// How Redis is reached.
#[derive(Clone)]
pub struct Settings {
    /// `redis://`, `rediss://` or `redis+unix://`; may contain user and password.
    pub url: SecretString,
    /// Wins over one in the URL.
    pub password: Option<SecretString>,
    /// The certificate authorities to trust, PEM; for `rediss://` only. Absent: the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("password", &self.password.is_some())
            .field("ca_pem", &self.ca_pem.is_some())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        let password = |settings: &Self| settings.password.as_ref().map(|p| p.expose_secret().to_owned());
        self.url.expose_secret() == other.url.expose_secret()
            && password(self) == password(other)
            && self.ca_pem == other.ca_pem
    }
}

/// Why settings can not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The URL is not one of Redis.
    #[error(
        "the Redis URL cannot be used: write redis://HOST:PORT or rediss://HOST:PORT, with /DB or USER:PASSWORD@ where needed"
    )]
    Url,
    /// The CA bundle cannot be used.
    #[error("the Redis CA bundle cannot be used: it must hold PEM certificates")]
    Ca,
}

impl Settings {
    /// With the secrets that a configuration names.
    ///
    /// # Errors
    /// [`ConfigError::SecretMissing`], [`ConfigError::SecretInvalid`].
    pub fn read(spec: &Spec, secrets: &Secrets) -> Result<Self, ConfigError> {
        let url = match &spec.url {
            Url::Plain(url) => url.as_str(),
            Url::File(file) => secrets.require_text(file, "redis.urlFile")?,
        };
        let password = spec.password_file.as_ref().map(|file| secrets.require_text(file, "redis.passwordFile"));
        let ca = spec.ca_file.as_ref().map(|file| secrets.require(file, "redis.caFile"));
        Ok(Self {
            url: SecretString::from(url),
            password: password.transpose()?.map(SecretString::from),
            ca_pem: ca.transpose()?.map(<[u8]>::to_vec),
        })
    }

    /// A client, which has not connected yet.
    ///
    /// # Errors
    /// [`Invalid`]
    pub fn client(&self) -> Result<Client, Invalid> {
        let mut info = self.url.expose_secret().into_connection_info().map_err(|_| Invalid::Url)?;
        if let Some(password) = &self.password {
            let redis = info.redis_settings().clone().set_password(password.expose_secret());
            info = info.set_redis_settings(redis);
        }
        match (info.addr(), &self.ca_pem) {
            (ConnectionAddr::TcpTls { .. }, Some(pem)) => {
                // The Redis client takes a bundle without certificates for a bundle that trusts nobody,
                // and would only ever say that no connection succeeds.
                let certificates =
                    CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| Invalid::Ca)?;
                if certificates.is_empty() {
                    return Err(Invalid::Ca);
                }
                let tls = TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) };
                Client::build_with_tls(info, tls).map_err(|_| Invalid::Ca)
            }
            _ => Client::open(info).map_err(|_| Invalid::Url),
        }
    }
}
