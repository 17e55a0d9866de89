//! Whether what a Secret or ConfigMap holds is a certificate, and whether its key belongs to it.
//!
//! Promises: what passes is taken by Armor's TLS, which is the same rustls. Must never give a part of what it read.

use crds::common::CaRef;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use crate::conditions::Problem;

/// Checks a certificate chain and its key, both PEM.
///
/// # Errors
/// What is wrong, as the rest of a sentence that begins with what was read.
pub fn check_pair(chain: &[u8], key: &[u8]) -> Result<(), &'static str> {
    let chain = certificates(chain).ok_or("tls.crt holds no PEM certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "tls.key holds no PEM private key")?;
    match CertifiedKey::from_der(chain, key, &default_provider()) {
        // Keys that can not tell are compared by the handshake alone.
        Ok(_) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(Error::InconsistentKeys(_)) => Err("tls.key is not the key of the certificate in tls.crt"),
        Err(Error::InvalidCertificate(_)) => Err("tls.crt holds a certificate that can not be read"),
        Err(_) => Err("tls.key holds a private key that can not be used: RSA, ECDSA and Ed25519 can"),
    }
}

/// Checks the bundle of certificate authorities that a field names; one without any would trust nobody.
///
/// # Errors
/// `ConfigMapInvalid`
pub fn check_ca(ca_ref: &CaRef, field: &str, bundle: &[u8]) -> Result<(), Problem> {
    let usable =
        certificates(bundle).is_some_and(|found| RootCertStore::empty().add_parsable_certificates(found).0 > 0);
    if usable {
        return Ok(());
    }
    let message = format!(
        "ConfigMap {}: the value under {}, which {field} names, holds no PEM certificate that can be read: correct the \
         ConfigMap",
        ca_ref.name,
        ca_ref.key()
    );
    Err(Problem::new("ConfigMapInvalid", message))
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Vec<u8>, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(["mcp.example.com".to_owned()]).unwrap();
        (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes())
    }

    #[test]
    fn a_certificate_and_its_key_pass_and_nothing_else_does() {
        let ((chain, key), (_, other)) = (pair(), pair());
        let broken = String::from_utf8(chain.clone()).unwrap().replace("MII", "AAA").into_bytes();
        for (chain, key, wrong) in [
            (&chain, &key, None),
            (&chain, &other, Some("tls.key is not the key")),
            (&key, &key, Some("tls.crt holds no PEM certificate")),
            (&chain, &chain, Some("tls.key holds no PEM private key")),
            (&broken, &key, Some("tls.crt holds a certificate that can not be read")),
        ] {
            let said = check_pair(chain, key);
            assert_eq!(said.is_err(), wrong.is_some(), "{said:?}");
            assert!(said.err().unwrap_or_default().starts_with(wrong.unwrap_or_default()), "{said:?}");
        }
    }

    #[test]
    fn a_bundle_needs_one_certificate_that_can_be_read() {
        let ca_ref = CaRef { name: "corp".into(), key: None };
        let (chain, key) = pair();
        assert!(check_ca(&ca_ref, "spec.remote.caRef", &chain).is_ok());
        for bad in [&key[..], b"", b"PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let problem = check_ca(&ca_ref, "spec.remote.caRef", bad).unwrap_err();
            assert_eq!(problem.reason, "ConfigMapInvalid");
        }
    }
}
