//! Certificates for programs with OpenSSL, which tells a CA from what it signed by their names.

use std::path::Path;

use exporter::tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A CA of the test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, in PEM.
    pub fn issue(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// Writes what a server of this machine needs: `ca.pem`, `cert.pem`, `key.pem`.
    pub fn write_server(&self, folder: &Path) {
        let (certificate, key) = self.issue("127.0.0.1");
        for (name, text) in [("ca.pem", self.0.pem()), ("cert.pem", certificate), ("key.pem", key)] {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }

    /// A server of the test's own.
    pub fn server(&self) -> rustls::ServerConfig {
        let (certificate, key) = self.issue("127.0.0.1");
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap()
    }

    /// In PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// What trusts this CA and shows a certificate of `client`.
    pub fn trusted(&self, client: Option<&Self>) -> tls::Settings {
        let client = client.map(|authority| {
            let (chain, key) = authority.issue("exporter");
            tls::ClientCertificate { chain: chain.into_bytes(), key: key.into() }
        });
        tls::Settings { ca: Some(self.0.pem().into_bytes()), client }
    }
}
