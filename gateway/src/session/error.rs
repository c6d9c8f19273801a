//! What can be wrong with the store. A client is never told 401 because of it (S8).

use std::{
    error, fmt,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;

use crate::exit::Trouble;

/// The store did not answer, or is no store.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// A fresh id is already in the table: with 32 random bytes this means that they were not
    /// random. Nothing was written (S3).
    Collision,
    /// A row holds what this program never writes.
    Corrupt {
        /// What was found.
        what: String,
    },
    /// SQLite said no.
    Database {
        /// The store's file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The key's file cannot be used.
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The store has sessions, and the key that signed their cookies is gone.
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is no store at that path.
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A newer version of this program made the store.
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Its layout's number.
        version: i64,
    },
    /// The file is a database of something else.
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file at that path, or its log beside it, is not the one that was opened.
    Replaced {
        /// The store's file.
        path: PathBuf,
    },
    /// The file cannot be opened or made.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collision => f.write_str("a fresh session id is already taken"),
            Self::Corrupt { what } => write!(f, "the session store is damaged: {what}"),
            Self::Database { path, source } => {
                write!(f, "session store {}: {source}", path.display())
            }
            Self::Key { path, why } => write!(f, "cookie key {}: {why}", path.display()),
            Self::KeyMissing { path } => write!(
                f,
                "cookie key {} is missing, and the store beside it has sessions",
                path.display()
            ),
            Self::Missing { path } => write!(f, "there is no session store at {}", path.display()),
            Self::Newer { path, version } => {
                write!(f, "session store {} has layout {version}", path.display())
            }
            Self::NotOurs { path } => {
                write!(f, "{} is a database, but not a session store", path.display())
            }
            Self::Replaced { path } => write!(
                f,
                "session store {} was moved, deleted or replaced while it was open",
                path.display()
            ),
            Self::Unreadable { path, source } => {
                write!(f, "session store {}: {source}", path.display())
            }
        }
    }
}

impl error::Error for StoreError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Database { source, .. } => Some(source),
            Self::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl StoreError {
    /// Whether somebody else has a lock, for the moment.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Database { source, .. } if is_busy(source))
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        self.expected_and_advice().1
    }

    fn expected_and_advice(&self) -> (&'static str, String) {
        match self {
            Self::Collision => (
                "32 random bytes from the operating system",
                "try again; if it repeats, \
                 the machine's random number generator is broken"
                    .to_owned(),
            ),
            Self::Database { path, source } => database(path, source),
            Self::Corrupt { .. } => (STORE, RESTORE.to_owned()),
            Self::Missing { .. } => (
                STORE,
                "check --store; `thence-gate session create` and a gateway that starts make one"
                    .to_owned(),
            ),
            Self::Replaced { .. } => (
                "the same files for as long as the store is open",
                "put the store there that is to be used, and send the gateway SIGHUP".to_owned(),
            ),
            Self::Key { path, .. } => (
                "64 hexadecimal digits in a file of mode 0600, owned by this user",
                format!("chmod 600 {0}, or restore it from a backup", path.display()),
            ),
            Self::KeyMissing { .. } => (
                "the key that signed the cookies of those sessions",
                "restore the key, or move the store away to begin with an empty one".to_owned(),
            ),
            Self::Newer { .. } => (
                "layout 1",
                "run the version of thence-gate that made it, or name another with --store"
                    .to_owned(),
            ),
            Self::NotOurs { .. } => {
                (STORE, "name another file with --store; this one was not touched".to_owned())
            }
            Self::Unreadable { path, .. } => (
                STORE,
                format!(
                    "check that {} exists and who may write there, or name another with \
                         --store",
                    path.parent().unwrap_or(path).display()
                ),
            ),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        let (expected, advice) = error.expected_and_advice();
        Self::new(&error, expected, advice)
    }
}

/// What SQLite expected, and what to do: its own words name no cure.
fn database(path: &Path, source: &rusqlite::Error) -> (&'static str, String) {
    let (folder, path) = (path.parent().unwrap_or(path).display(), path.display());
    match source.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => (
            "a store that this program alone holds the lock of, for moments",
            format!("find who holds it with `fuser -v {path}`, and end what hangs"),
        ),
        Some(ErrorCode::DiskFull) => (
            "room on the disk for the store and its log",
            format!("free some space where {path} lies (see `df {path}`); no session was lost"),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            "a store, its log and its folder that this user can write to",
            format!(
                "see who may write with `ls -l {path}*` and `ls -ld {folder}`, and whether the file system is mounted read-only"
            ),
        ),
        Some(ErrorCode::CannotOpen) => (
            "a store, and a folder in which its log can be made",
            format!(
                "see who may write in {folder}, and how many files this user may have open (`ulimit -n`)"
            ),
        ),
        Some(ErrorCode::SystemIoFailure) => (
            "a disk that can be read and written",
            format!(
                "look for errors of the disk under {path} in the system's log (`dmesg`), before anything is written to it again"
            ),
        ),
        Some(ErrorCode::DatabaseCorrupt) => (
            "an undamaged SQLite file",
            format!(
                "copy {path} and the files beside it away, and restore it from a backup; `sqlite3 {path} .recover` may save what it has"
            ),
        ),
        Some(ErrorCode::NotADatabase) => {
            (STORE, "name another file with --store; this one was not touched".to_owned())
        }
        _ => (STORE, RESTORE.to_owned()),
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

const STORE: &str = "an SQLite file made by thence-gate that this user can read and write";
const RESTORE: &str = "restore the file from a backup, or name another with --store";

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn every_failure_of_sqlite_has_advice_that_fits() {
        for (code, advice) in [
            (ffi::SQLITE_BUSY, "fuser -v /d/s.db"),
            (ffi::SQLITE_LOCKED, "fuser -v /d/s.db"),
            (ffi::SQLITE_PROTOCOL, "fuser -v /d/s.db"),
            (ffi::SQLITE_FULL, "free some space"),
            (ffi::SQLITE_READONLY, "ls -ld /d`"),
            (ffi::SQLITE_READONLY_DIRECTORY, "ls -ld /d`"),
            (ffi::SQLITE_PERM, "ls -ld /d`"),
            (ffi::SQLITE_CANTOPEN, "ulimit -n"),
            (ffi::SQLITE_IOERR, "dmesg"),
            (ffi::SQLITE_IOERR_WRITE, "dmesg"),
            (ffi::SQLITE_CORRUPT, ".recover"),
            (ffi::SQLITE_NOTADB, "name another file"),
            (ffi::SQLITE_ERROR, "backup"),
        ] {
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = StoreError::Database { path: "/d/s.db".into(), source };
            let trouble = Trouble::from(error);
            assert!(trouble.advice().contains(advice), "{code}: {trouble}");
        }
    }
}
