//! A folder of this user alone, for keys. It is gone with its process; what one that was killed has left behind goes
//! when the next starts.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

const PREFIX: &str = "outrigger-";
/// While its folder is made; then nobody takes it for one that was left behind.
const UNFINISHED: &str = "outrigger-new-";
/// Digits behind the prefix.
const DIGITS: usize = 32;
/// Locked for as long as the process is there.
const LOCK: &str = "lock";

/// A folder of this user alone; gone with this.
pub(super) struct PrivateFolder {
    path: PathBuf,
    _lock: File,
}

impl PrivateFolder {
    /// Makes one within another, and removes those that nobody has any more.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new(within: &Path) -> io::Result<Self> {
        remove_abandoned(within);
        let mut bytes = [0; DIGITS / 2];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let digits = data_encoding::HEXLOWER.encode(&bytes);
        let (made, path) = (within.join(format!("{UNFINISHED}{digits}")), within.join(format!("{PREFIX}{digits}")));
        // It must not be there already: somebody else would own it.
        DirBuilder::new().mode(0o700).create(&made)?;
        let lock = File::create_new(made.join(LOCK))?;
        lock.lock()?;
        fs::rename(&made, &path)?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // Where that fails, certificates of a day are left to their owner.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Of folders that cannot be looked at or removed others may know more.
fn remove_abandoned(within: &Path) {
    let user = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(within).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).unwrap_or_default();
        let is_ours = || entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user);
        let is_named = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_named && is_ours() && is_abandoned(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A process that is there has it locked.
fn is_abandoned(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_has_is_removed() {
        let within = std::env::temp_dir().join(format!("outrigger-folders-{}", std::process::id()));
        fs::create_dir_all(&within).unwrap();
        let kept = PrivateFolder::new(&within).unwrap();
        // As of a process that was killed: its lock is open no more.
        let abandoned = within.join(format!("{PREFIX}{}", "0".repeat(DIGITS)));
        let unlocked = within.join(format!("{PREFIX}{}", "1".repeat(DIGITS)));
        let others = within.join(format!("{PREFIX}bench-1"));
        for folder in [&abandoned, &unlocked, &others] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("key.pem"), "secret").unwrap();
        }
        fs::write(abandoned.join(LOCK), "").unwrap();
        fs::write(others.join(LOCK), "").unwrap();
        let next = PrivateFolder::new(&within).unwrap();
        assert!(kept.path().exists() && next.path().exists() && unlocked.exists() && others.exists());
        assert!(!abandoned.exists());
        let path = next.path().to_owned();
        drop(next);
        assert!(!path.exists());
        fs::remove_dir_all(&within).unwrap();
    }
}
