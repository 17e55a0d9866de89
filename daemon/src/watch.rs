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
    /// What was given last: the same files are not given again.
    given: Option<[u8; 32]>,
    /// Why they could not be read, as it was told.
    unreadable: Option<String>,
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
        Self {
            file: config.join(file),
            secrets: secrets.to_owned(),
            notices,
            given: None,
            unreadable: None,
            _watcher: watcher,
        }
    }

    /// The next content, first of all what is there; content that is as it was is not given again. Nothing is missed by one
    /// that stops waiting.
    ///
    /// # Errors
    /// See [`Files::read`]. Each is told once until it is another one, or until the files can be read again.
    pub async fn changed(&mut self) -> Result<Files, ConfigError> {
        loop {
            match Files::read(&self.file, &self.secrets) {
                Ok(files) => {
                    self.unreadable = None;
                    if self.given.replace(files.digest()) != Some(files.digest()) {
                        return Ok(files);
                    }
                }
                Err(error) => {
                    self.given = None;
                    let text = error.to_string();
                    if self.unreadable.as_ref() != Some(&text) {
                        self.unreadable = Some(text);
                        return Err(error);
                    }
                }
            }
            self.tick().await;
        }
    }

    /// Waits until it is worth looking again.
    async fn tick(&mut self) {
        tokio::select! {
            Some(()) = self.notices.recv() => {
                tokio::time::sleep(SETTLE).await;
                while self.notices.try_recv().is_ok() {}
            }
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn content_is_given_once_and_so_is_an_error_and_what_comes_back_is_given_again() {
        let folder = std::env::temp_dir().join(format!("daemon-watch-{}", std::process::id()));
        let (config, secrets) = (folder.join("config"), folder.join("secrets"));
        for directory in [&config, &secrets] {
            std::fs::create_dir_all(directory).unwrap();
        }
        let write = |text: &str| {
            std::fs::write(config.join("new"), text).unwrap();
            std::fs::rename(config.join("new"), config.join("a.yaml")).unwrap();
        };
        let nothing_new = async |directories: &mut Directories| {
            assert!(tokio::time::timeout(2 * POLL, directories.changed()).await.is_err(), "it was given again");
        };
        let mut directories = Directories::watch(&config, "a.yaml", &secrets);
        assert!(matches!(directories.changed().await, Err(ConfigError::Read { .. })));
        nothing_new(&mut directories).await;
        write("one");
        assert_eq!(directories.changed().await.unwrap().config(), b"one");
        write("one");
        nothing_new(&mut directories).await;
        std::fs::write(secrets.join("token"), "secret").unwrap();
        assert_eq!(directories.changed().await.unwrap().config(), b"one");
        std::fs::remove_file(config.join("a.yaml")).unwrap();
        assert!(directories.changed().await.is_err());
        write("one");
        assert_eq!(directories.changed().await.unwrap().config(), b"one");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
