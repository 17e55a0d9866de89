//! What the benchmarks of this project share: the form of their results.
//!
//! A benchmark measures and reports. It never fails because a figure is bad: a machine that is busy would make it
//! fail for nothing.

pub mod report;

/// Says on stderr what goes on.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { eprintln!("=== {}", format_args!($($text)*)) };
}

/// Installs the TLS provider of the process.
///
/// # Errors
/// When there is one already.
pub fn install_tls() -> anyhow::Result<()> {
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    installed.map_err(|_| anyhow::anyhow!("a TLS provider was installed already"))
}
