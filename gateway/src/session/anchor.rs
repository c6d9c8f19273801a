//! Whether the files at a store's path are still those that were opened.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use super::error::StoreError;

/// The files of an open store, by name and by what the names meant when it was opened.
///
/// SQLite goes on with files that were moved, deleted or replaced, and nobody who opens the path
/// then sees what the other does: a session that was revoked there would live on here. Once a file
/// is not what it was the store is lost for good, even if the file comes back: somebody else may
/// have used the names meanwhile.
pub(super) struct Anchor {
    files: [(PathBuf, Identity); 3],
    is_lost: AtomicBool,
}

/// A file, whatever it is called: its device and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|found| Self(found.dev(), found.ino()))
    }
}

impl Anchor {
    /// The files of the store at `path`. Somebody has to have it open: the last who closes it
    /// deletes two of them.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let named = |suffix: &str| {
            let mut name = OsString::from(path);
            name.push(suffix);
            let path = PathBuf::from(name);
            let identity = Identity::of(&path)?;
            Ok::<_, io::Error>((path, identity))
        };
        let files = [named("")?, named("-wal")?, named("-shm")?];
        Ok(Self { files, is_lost: AtomicBool::new(false) })
    }

    /// What the store's own file was.
    pub(super) fn identity(&self) -> Identity {
        self.files[0].1
    }

    /// Three system calls that read nothing from a disk.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let store = &self.files[0].0;
        for (path, identity) in &self.files {
            match Identity::of(path) {
                Ok(found) if found == *identity => {}
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::Unreadable { path: store.clone(), source });
                }
                _ => self.is_lost.store(true, Ordering::Relaxed),
            }
        }
        match self.is_lost.load(Ordering::Relaxed) {
            true => Err(StoreError::Replaced { path: store.clone() }),
            false => Ok(()),
        }
    }
}
