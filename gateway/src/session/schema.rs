//! The table, and how a connection to it is opened.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::{error::StoreError, store::Missing};

/// Makes the file if it is not there, readable by its owner only: SQLite itself would follow the
/// umask. Says whether it made it.
pub(super) fn make_file(path: &Path) -> Result<bool, StoreError> {
    let unreadable = |source| StoreError::Unreadable { path: path.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => is_file(path).map(|()| false),
        Err(error) => Err(unreadable(error)),
    }
}

/// Whether the file is one, and can be read and written: SQLite would fall back to reading only, and
/// fail at the first write.
pub(super) fn is_file(path: &Path) -> Result<(), StoreError> {
    let unreadable = |source| StoreError::Unreadable { path: path.to_owned(), source };
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) if fs::metadata(path).is_ok_and(|found| found.is_file()) => Ok(()),
        Ok(_) => Err(unreadable(io::Error::other("it is not a file"))),
        Err(error) => Err(unreadable(error)),
    }
}

/// What a file that can be opened is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// A database with nothing in it, which can become a store.
    Empty,
    /// A store of ours.
    Ours,
}

/// Whether there is a file at all.
pub(super) fn is_there(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(StoreError::Missing { path: path.to_owned() })
        }
        _ => is_file(path),
    }
}

/// Has a file's name survive the machine's power.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A connection to what is a store, or can become one.
pub(super) fn open_known(path: &Path) -> Result<(Connection, Layout), StoreError> {
    let mut connection = open(path, READER_PATIENCE).map_err(|source| database(path, source))?;
    let layout = layout(path, &mut connection, TransactionBehavior::Deferred)?.0;
    Ok((connection, layout))
}

/// What the file is, seen in one transaction: somebody else may be laying the table out.
fn layout<'a>(
    path: &Path,
    connection: &'a mut Connection,
    behavior: TransactionBehavior,
) -> Result<(Layout, Transaction<'a>), StoreError> {
    let database = |source| database(path, source);
    let look = connection.transaction_with_behavior(behavior).map_err(database)?;
    let application: i64 = pragma(&look, "application_id").map_err(database)?;
    let version: i64 = pragma(&look, "user_version").map_err(database)?;
    let objects: i64 = look
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(database)?;
    match (application, version) {
        (APPLICATION, LAYOUT) => Ok((Layout::Ours, look)),
        (APPLICATION, version) if version > LAYOUT => {
            Err(StoreError::Newer { path: path.to_owned(), version })
        }
        (0, 0) if objects == 0 => Ok((Layout::Empty, look)),
        _ => Err(StoreError::NotOurs { path: path.to_owned() }),
    }
}

/// The one connection that writes (S9). Lays the table out in an empty file, if it may.
pub(super) fn open_writer(path: &Path, missing: Missing) -> Result<Connection, StoreError> {
    let until = Instant::now() + WRITER_PATIENCE;
    loop {
        match try_open_writer(path, missing) {
            // Some of SQLite's locks are refused at once where waiting could be for ever: those of
            // the journal's mode, when several processes make one store.
            Err(error) if error.is_busy() && Instant::now() < until => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

fn try_open_writer(path: &Path, missing: Missing) -> Result<Connection, StoreError> {
    let database = |source| database(path, source);
    let mut connection = open(path, WRITER_PATIENCE).map_err(database)?;
    let found = layout(path, &mut connection, TransactionBehavior::Deferred)?.0;
    match (found, missing) {
        (Layout::Ours, _) => {}
        (Layout::Empty, Missing::Fail) => {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        (Layout::Empty, Missing::Make) => lay_out(path, &mut connection)?,
    }
    // A reader never waits for the writer, nor the other way (S9).
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(database)?;
    if mode != "wal" {
        return Err(StoreError::Unreadable {
            path: path.to_owned(),
            source: io::Error::other("its file system cannot share memory, which WAL needs"),
        });
    }
    // The first read makes the files of the log, which stay as long as this connection.
    pragma(&connection, "user_version").map_err(database)?;
    Ok(connection)
}

/// One of the connections that only read.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, READER_PATIENCE)?;
    connection.pragma_update(None, "query_only", "ON")?;
    Ok(connection)
}

fn open(path: &Path, patience: Duration) -> rusqlite::Result<Connection> {
    // Each connection is behind a lock of ours; SQLite's own would be a second one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    Ok(connection)
}

fn lay_out(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    // Power must not take the table from under the first session.
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(|source| database(path, source))?;
    // Immediate: of several who start at once, one lays it out and the others find that it has.
    let (found, lay) = layout(path, connection, TransactionBehavior::Immediate)?;
    if found == Layout::Ours {
        return Ok(());
    }
    lay.execute_batch(TABLE)
        .and_then(|()| lay.pragma_update(None, "application_id", APPLICATION))
        .and_then(|()| lay.pragma_update(None, "user_version", LAYOUT))
        .and_then(|()| lay.commit())
        .map_err(|source| database(path, source))
}

fn database(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::Database { path: path.to_owned(), source }
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Times are milliseconds since 1970. `ends_at` is whichever clock runs out first (S4), kept in
/// the row so that one index finds what has expired.
const TABLE: &str = "
    CREATE TABLE session (
        id         BLOB PRIMARY KEY CHECK (length(id) = 32),
        account    TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        idle       INTEGER,
        seen_at    INTEGER NOT NULL,
        ends_at    INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_account ON session (account);
    CREATE INDEX session_end ON session (ends_at);
";
/// Marks the file as ours: `thgt`.
const APPLICATION: i64 = 0x7468_6774;
const LAYOUT: i64 = 1;
/// A command that revokes ten thousand sessions holds the write lock this long at most.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);
/// Below the look-up's deadline: with WAL a reader waits only while the log is being recovered.
const READER_PATIENCE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(5);
