//! Self-signed certificates of RSA keys, as a user makes them with openssl.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Files of a certificate and its key; made anew at each call.
pub fn make(name: &str) -> Result<(PathBuf, PathBuf)> {
    let file = |end: &str| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{end}"));
    let (certificate, key) = (file("crt"), file("key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=mcp.example.com",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok((certificate, key))
}

/// The certificate that a server shows, as PEM.
pub fn shown_by(address: &str) -> Result<String> {
    let shown = Command::new("openssl").args(["s_client", "-connect", address]).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let start = text.find("-----BEGIN CERTIFICATE-----").with_context(|| format!("no certificate: {text}"))?;
    let end = text.find("-----END CERTIFICATE-----").context("an end of the certificate")?;
    Ok(format!("{}-----END CERTIFICATE-----\n", &text[start..end]))
}
