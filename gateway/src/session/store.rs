//! The session store: rows in SQLite, one connection that writes and several that read.
//!
//! Everything here blocks, so the gateway calls it on the pool. The time is always passed in.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params};

use super::{
    Account, Span, Stamp,
    error::StoreError,
    key, schema,
    token::{Handle, MacKey, RowKey, SessionId},
};

/// An open store and the key beside it.
pub struct Store {
    path: PathBuf,
    key: MacKey,
    created: bool,
    /// The only connection that writes (S9).
    writer: Mutex<Connection>,
    /// Readers that nobody uses now; each look-up takes one and puts it back.
    readers: Mutex<Vec<Connection>>,
}

impl Store {
    /// Opens the store at `path`, making the file and its key if they are not there.
    ///
    /// # Errors
    /// When the file is not a store of ours, cannot be read or written, or has lost its key.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let created = schema::make_file(path)?;
        let writer = schema::open_writer(path)?;
        let key_path = key::path_beside(path);
        let key = match key::read(&key_path)? {
            Some(key) => key,
            None if has_rows(&writer).map_err(|source| database(path, source))? => {
                return Err(StoreError::KeyMissing { path: key_path });
            }
            None => key::make(&key_path)?,
        };
        let readers = Mutex::default();
        Ok(Self { path: path.to_owned(), key, created, writer: Mutex::new(writer), readers })
    }

    /// Makes a session. The answer holds the only copy of its secret.
    ///
    /// # Errors
    /// When the store does not take it; an id that is already there is never overwritten (S3).
    pub fn create(&self, account: &Account, life: Life, now: Stamp) -> Result<Created, StoreError> {
        let id = SessionId::random().map_err(|_| StoreError::Corrupt {
            what: "the operating system gave no random bytes".into(),
        })?;
        self.insert(&id, account, life, now)?;
        Ok(Created { handle: id.row_key().handle(), value: self.key.seal(&id) })
    }

    /// Looks a session up. Reads only, and waits for no writer (S4).
    ///
    /// # Errors
    /// When the store does not answer: that says nothing about the session (S8).
    pub fn find(&self, key: &RowKey, now: Stamp) -> Result<Found, StoreError> {
        let row = self.read(|connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM session WHERE id = ?1"))?
                .query_row([key.as_bytes()], RawRow::read)
                .optional()
        })?;
        let Some(row) = row.map(RawRow::checked).transpose()? else { return Ok(Found::Missing) };
        Ok(match row.state(now) {
            State::Revoked => Found::Revoked,
            State::Expired => Found::Expired,
            State::Live => Found::Live(Session {
                touch: row.touch_is_due(now),
                account: row.account,
                handle: row.handle,
            }),
        })
    }

    /// The sessions there are, newest first; of one account if one is given.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn list(&self, account: Option<&Account>) -> Result<Vec<Row>, StoreError> {
        let rows: Vec<RawRow> = self.read(|connection| {
            connection
                .prepare(&format!(
                    "SELECT {COLUMNS} FROM session WHERE ?1 IS NULL OR account = ?1
                     ORDER BY created_at DESC, id"
                ))?
                .query_map([account.map(Account::as_str)], RawRow::read)?
                .collect()
        })?;
        rows.into_iter().map(RawRow::checked).collect()
    }

    /// Revokes the sessions of an account. Says how many were live in the table until now.
    ///
    /// # Errors
    /// When the store does not take it.
    pub fn revoke_account(&self, account: &Account, now: Stamp) -> Result<usize, StoreError> {
        self.write(|connection| {
            connection.execute(
                "UPDATE session SET revoked_at = ?2 WHERE account = ?1 AND revoked_at IS NULL",
                params![account.as_str(), now.millis()],
            )
        })
    }

    /// Revokes the session of that handle. Says how many were revoked by it: one, or none.
    ///
    /// # Errors
    /// When the store does not take it.
    pub fn revoke(&self, handle: &Handle, now: Stamp) -> Result<usize, StoreError> {
        let (first, last) = handle.row_keys();
        self.write(|connection| {
            connection.execute(
                "UPDATE session SET revoked_at = ?3
                 WHERE id BETWEEN ?1 AND ?2 AND revoked_at IS NULL",
                params![first, last, now.millis()],
            )
        })
    }

    /// Moves the idle clock of many sessions, in one transaction. A session that was revoked or
    /// has ended meanwhile stays so (S3); the clock never moves back. Says how many were moved.
    ///
    /// # Errors
    /// When the store does not take it. Nothing was moved then.
    pub fn touch(&self, seen: &[(RowKey, Stamp)]) -> Result<usize, StoreError> {
        self.write(|connection| {
            let touch = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut moved = 0;
            {
                let mut update = touch.prepare_cached(
                    "UPDATE session
                     SET seen_at = ?2, ends_at = min(expires_at, ?2 + ifnull(idle, expires_at))
                     WHERE id = ?1 AND revoked_at IS NULL AND ends_at > ?2 AND seen_at < ?2",
                )?;
                for (key, at) in seen {
                    moved += update.execute(params![key.as_bytes(), at.millis()])?;
                }
            }
            touch.commit()?;
            Ok(moved)
        })
    }

    /// Removes at most [`Store::SWEEP`] sessions that ended before `ended`. Says how many: fewer
    /// than that means that none is left.
    ///
    /// # Errors
    /// When the store does not take it.
    pub fn sweep(&self, ended: Stamp) -> Result<usize, StoreError> {
        self.write(|connection| {
            connection.execute(
                "DELETE FROM session WHERE id IN
                 (SELECT id FROM session WHERE ends_at < ?1 ORDER BY ends_at LIMIT ?2)",
                params![ended.millis(), Self::SWEEP as i64],
            )
        })
    }

    /// Rows removed in one go (S9): more would hold the write lock for long.
    pub const SWEEP: usize = 500;

    /// Reads one row, whichever: is the store there?
    ///
    /// # Errors
    /// When it is not.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.read(|connection| {
            let probe = "SELECT id FROM session LIMIT 1";
            connection.query_row(probe, [], |_| Ok(())).optional()
        })?;
        Ok(())
    }

    /// The key that signs this store's cookies.
    pub fn key(&self) -> &MacKey {
        &self.key
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether [`Store::open`] made the file.
    pub fn was_created(&self) -> bool {
        self.created
    }

    fn insert(
        &self,
        id: &SessionId,
        account: &Account,
        life: Life,
        now: Stamp,
    ) -> Result<(), StoreError> {
        let expires = now.after(life.absolute);
        let ends = life.idle.map_or(expires, |idle| expires.min(now.after(idle)));
        let key = id.row_key();
        let row = params![
            key.as_bytes(),
            account.as_str(),
            now.millis(),
            expires.millis(),
            life.idle.map(Span::millis),
            ends.millis(),
        ];
        // Never INSERT OR REPLACE (S3): that would hand one account's cookie to another.
        let inserted = self.write(|connection| {
            connection.execute(
                "INSERT INTO session (id, account, created_at, expires_at, idle, seen_at, ends_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?3, ?6)",
                row,
            )
        });
        match inserted {
            Ok(_) => Ok(()),
            Err(StoreError::Database { source, .. })
                if source.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) =>
            {
                Err(StoreError::Collision)
            }
            Err(error) => Err(error),
        }
    }

    fn read<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let idle = lock(&self.readers).pop();
        let reader = idle.map_or_else(|| schema::open_reader(&self.path), Ok);
        let reader = reader.map_err(|source| database(&self.path, source))?;
        let answer = ask(&reader).map_err(|source| database(&self.path, source))?;
        // One that failed is dropped instead: the next look-up opens a fresh one.
        lock(&self.readers).push(reader);
        Ok(answer)
    }

    fn write<T>(
        &self,
        say: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        say(&mut lock(&self.writer)).map_err(|source| database(&self.path, source))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A session that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its public name.
    pub handle: Handle,
    /// The cookie's value: whoever has it is the account.
    pub value: String,
}

/// How long a session lives: two clocks, and the first to run out ends it (S4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// From its making, whatever happens.
    pub absolute: Span,
    /// From the last request, if requests matter.
    pub idle: Option<Span>,
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// A session one of whose clocks has run out.
    Expired,
    /// A session in force.
    Live(Session),
    /// No row.
    Missing,
    /// A session somebody ended.
    Revoked,
}

/// A session in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub account: Account,
    /// Its public name.
    pub handle: Handle,
    /// Whether its idle clock should be moved now (S4: at most every max(60 s, idle / 20)).
    pub touch: bool,
}

/// A session's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its public name.
    pub handle: Handle,
    /// Whose it is.
    pub account: Account,
    /// When it was made.
    pub created: Stamp,
    /// When it was last used, give or take the interval of touching.
    pub seen: Stamp,
    /// When the first of its clocks runs out.
    pub ends: Stamp,
    /// The idle clock's length.
    pub idle: Option<Span>,
    /// When it was revoked.
    pub revoked: Option<Stamp>,
}

impl Row {
    /// What it is worth at `now`.
    pub fn state(&self, now: Stamp) -> State {
        if self.revoked.is_some() {
            State::Revoked
        } else if self.ends <= now {
            State::Expired
        } else {
            State::Live
        }
    }

    fn touch_is_due(&self, now: Stamp) -> bool {
        let Some(idle) = self.idle else { return false };
        now.since(self.seen).millis() >= (idle.millis() / 20).max(60_000)
    }
}

/// What a session is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// One of its clocks has run out.
    Expired,
    /// It is in force.
    Live,
    /// Somebody ended it.
    Revoked,
}

/// A row as SQLite gives it.
struct RawRow {
    id: Vec<u8>,
    account: String,
    created: i64,
    seen: i64,
    ends: i64,
    idle: Option<i64>,
    revoked: Option<i64>,
}

impl RawRow {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            account: row.get(1)?,
            created: row.get(2)?,
            seen: row.get(3)?,
            ends: row.get(4)?,
            idle: row.get(5)?,
            revoked: row.get(6)?,
        })
    }

    fn checked(self) -> Result<Row, StoreError> {
        let corrupt = |what: String| StoreError::Corrupt { what };
        let key = RowKey::from_bytes(&self.id)
            .ok_or_else(|| corrupt(format!("a row's id has {} bytes", self.id.len())))?;
        let account: Account = self
            .account
            .parse()
            .map_err(|why| corrupt(format!("session {}: {why}", key.handle())))?;
        Ok(Row {
            handle: key.handle(),
            account,
            created: Stamp::from_millis(self.created),
            seen: Stamp::from_millis(self.seen),
            ends: Stamp::from_millis(self.ends),
            idle: self.idle.map(Span::from_millis),
            revoked: self.revoked.map(Stamp::from_millis),
        })
    }
}

fn has_rows(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM session)", [], |row| row.get(0))
}

fn database(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::Database { path: path.to_owned(), source }
}

/// The lock guards connections that no panic leaves in the middle of anything: a transaction that
/// unwinds is rolled back.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const COLUMNS: &str = "id, account, created_at, seen_at, ends_at, idle, revoked_at";

#[cfg(test)]
mod tests;
