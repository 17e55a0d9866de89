//! The listener's certificate.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::schema::Tls;
use daemon::files::{ConfigError, Secrets};
use daemon::values::FileName;

/// Reads certificate and key.
///
/// # Errors
/// A file that is missing or does not hold what it should, or a key that does not fit.
pub fn config(files: &Tls, secrets: &Secrets) -> Result<Arc<rustls::ServerConfig>, ConfigError> {
    let invalid = |file: &FileName, field, reason: &str| ConfigError::SecretInvalid {
        file: file.to_string(),
        field,
        reason: reason.to_owned(),
    };
    let cert_field = "listener.tls.certFile";
    let key_field = "listener.tls.keyFile";
    let pem = secrets.require(&files.cert_file, cert_field)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| invalid(&files.cert_file, cert_field, "is no PEM certificate"))?;
    let pem = secrets.require(&files.key_file, key_field)?;
    let key =
        PrivateKeyDer::from_pem_slice(pem).map_err(|_| invalid(&files.key_file, key_field, "is no PEM private key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| invalid(&files.cert_file, cert_field, &e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| invalid(&files.key_file, key_field, &e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
