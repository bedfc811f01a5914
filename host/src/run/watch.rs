//! Tells when files have changed.

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long a file must be left alone before it is read: editors and copies write in pieces.
const SETTLE: Duration = Duration::from_millis(100);

/// Watches files and folders.
pub(crate) struct Watch {
    /// Ends with this.
    _watcher: Option<RecommendedWatcher>,
    changes: UnboundedReceiver<()>,
    /// Something has changed that nobody has been told of.
    changed: bool,
}

impl Watch {
    /// Watches. Of a file its folder is watched: editors and ConfigMap mounts put another in its place. What cannot be
    /// watched is said on standard error.
    pub(crate) fn new(paths: &[PathBuf]) -> Self {
        let (changed, changes) = unbounded_channel();
        let (folders, files): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(|path| path.is_dir());
        let names: BTreeSet<_> = files.iter().filter_map(|file| file.file_name()).map(ToOwned::to_owned).collect();
        let within: Vec<PathBuf> = folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
        let concerns = move |path: &PathBuf| {
            let named = path.file_name().is_some_and(|name| names.contains(name) || name == "..data");
            named || within.iter().any(|folder| path.starts_with(folder))
        };
        let tell = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if !event.kind.is_access() && event.paths.iter().any(&concerns) {
                // Whoever reloaded has ended.
                let _ = changed.send(());
            }
        };
        let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
            for folder in &folders {
                watcher.watch(&folder.canonicalize().map_err(notify::Error::io)?, RecursiveMode::Recursive)?;
            }
            let parents: BTreeSet<_> = files.iter().map(|file| parent(file)).collect();
            for folder in parents {
                watcher.watch(&folder, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            eprintln!("outrigger: changes are not noticed, send SIGHUP: {error}");
        }
        Self { _watcher: watcher.ok(), changes, changed: false }
    }

    /// Waits for a change, and until nothing has changed for a moment. Who stops waiting misses nothing.
    pub(crate) async fn changed(&mut self) {
        if !self.changed && self.changes.recv().await.is_none() {
            // Nothing is watched.
            std::future::pending::<()>().await;
        }
        self.changed = true;
        while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.changes.recv()).await {}
        self.changed = false;
    }
}

fn parent(file: &Path) -> PathBuf {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    file.parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}
