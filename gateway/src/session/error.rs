//! What can be wrong with the store. A client is never told 401 because of it (S8).

use std::{error, fmt, path::PathBuf};

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
            Self::Newer { path, version } => {
                write!(f, "session store {} has layout {version}", path.display())
            }
            Self::NotOurs { path } => {
                write!(f, "{} is a database, but not a session store", path.display())
            }
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

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        const STORE: &str = "an SQLite file made by thence-gate that this user can read and write";
        let (expected, advice) = match &error {
            StoreError::Collision => (
                "32 random bytes from the operating system",
                "try again; if it repeats, \
                 the machine's random number generator is broken"
                    .to_owned(),
            ),
            StoreError::Database { path, source } if is_busy(source) => (
                "a store that this program alone holds the lock of, for moments",
                format!("find who holds it with `fuser -v {}`, and end what hangs", path.display()),
            ),
            StoreError::Corrupt { .. } | StoreError::Database { .. } => {
                (STORE, "restore the file from a backup, or name another with --store".to_owned())
            }
            StoreError::Key { path, .. } => (
                "64 hexadecimal digits in a file of mode 0600, owned by this user",
                format!("chmod 600 {0}, or restore it from a backup", path.display()),
            ),
            StoreError::KeyMissing { .. } => (
                "the key that signed the cookies of those sessions",
                "restore the key, or move the store away to begin with an empty one".to_owned(),
            ),
            StoreError::Newer { .. } => (
                "layout 1",
                "run the version of thence-gate that made it, or name another with --store"
                    .to_owned(),
            ),
            StoreError::NotOurs { .. } => {
                (STORE, "name another file with --store; this one was not touched".to_owned())
            }
            StoreError::Unreadable { path, .. } => (
                STORE,
                format!(
                    "check that {} exists and who may write there, or name another with \
                         --store",
                    path.parent().unwrap_or(path).display()
                ),
            ),
        };
        Self::new(&error, expected, advice)
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
