//! Noticing that a file changed.
//!
//! Promises: a change is noticed at once where the file system tells (also the kubelet's swap of `..data`), and
//! within [`POLL`] where it does not. Must never miss one: what counts is the content, not the notice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::files::{ConfigError, Files};

/// How often the content is looked at without a notice.
pub const POLL: Duration = Duration::from_millis(1500);
/// Writing several files gives several notices; they are taken together.
const SETTLE: Duration = Duration::from_millis(50);

/// The directory of the configuration and that of the secrets.
pub struct Directories {
    file: PathBuf,
    secrets: PathBuf,
    notices: mpsc::Receiver<()>,
    /// Ends with this.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Directories {
    /// Begins to watch; `file` is the name of the configuration in its directory. That the file system tells nothing is
    /// no error.
    #[must_use]
    pub fn watch(config: &Path, file: &str, secrets: &Path) -> Self {
        let (sender, notices) = mpsc::channel(1);
        let on_event = move |event: notify::Result<notify::Event>| {
            // Reading the files is an event too.
            if event.is_ok_and(|e| !e.kind.is_access()) {
                // Full: a notice is waiting already.
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .and_then(|mut watcher| {
                watcher.watch(config, RecursiveMode::NonRecursive)?;
                if secrets != config {
                    watcher.watch(secrets, RecursiveMode::NonRecursive)?;
                }
                Ok(watcher)
            })
            .map_err(|error| tracing::debug!(%error, "the directories are only polled"))
            .ok();
        Self { file: config.join(file), secrets: secrets.to_owned(), notices, _watcher: watcher }
    }

    /// Waits until it is worth looking again.
    pub async fn tick(&mut self) {
        tokio::select! {
            Some(()) = self.notices.recv() => {
                tokio::time::sleep(SETTLE).await;
                while self.notices.try_recv().is_ok() {}
            }
            () = tokio::time::sleep(POLL) => {}
        }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// See [`Files::read`].
    pub fn read(&self) -> Result<Files, ConfigError> {
        Files::read(&self.file, &self.secrets)
    }
}
