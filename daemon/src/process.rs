//! How a process ends, and where it is asked while its configuration is not known to be right.

use std::path::Path;

use tokio::task::JoinError;

/// Why a process ends other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Signals can not be received.
    #[error("signals can not be received: {0}")]
    Signal(std::io::Error),
    /// A task ended that should not.
    #[error("the task '{0}' ended")]
    Task(&'static str),
    /// A task died.
    #[error("a task died: {0}")]
    Died(#[from] JoinError),
}

/// The end of a process after this task ended; `None`: it was told to end.
///
/// # Errors
/// [`RunError`]
pub fn end(died: Option<Result<&'static str, JoinError>>) -> Result<(), RunError> {
    match died {
        None => Ok(()),
        Some(Ok(task)) => Err(RunError::Task(task)),
        Some(Err(error)) => Err(error.into()),
    }
}

/// `admin.port` of a configuration that may be wrong otherwise, or the default: the kubelet asks it from the beginning.
#[must_use]
pub fn admin_port(configuration: &Path, default: u16) -> u16 {
    #[derive(serde::Deserialize)]
    struct Ports {
        admin: Admin,
    }
    #[derive(serde::Deserialize)]
    struct Admin {
        port: u16,
    }
    std::fs::read(configuration)
        .ok()
        .and_then(|text| serde_saphyr::from_slice::<Ports>(&text).ok())
        .map_or(default, |ports| ports.admin.port)
}
