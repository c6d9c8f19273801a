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
    anchor::{Anchor, Identity},
    error::StoreError,
    key,
    row::{COLUMNS, Found, RawRow, Row},
    schema,
    token::{Handle, MacKey, RowKey, SessionId},
};

/// An open store and the key beside it.
pub struct Store {
    path: PathBuf,
    key: MacKey,
    created: bool,
    anchor: Anchor,
    /// The only connection that writes (S9); none once the store is lost.
    writer: Mutex<Option<Connection>>,
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
        Self::opened(path, created, Missing::Make)
    }

    /// Opens the store at `path` and makes none: a command that only looks, or ends sessions, must
    /// not find an empty store where the path is mistyped.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, and what [`Store::open`] fails with.
    pub fn open_existing(path: &Path) -> Result<Self, StoreError> {
        Self::opened(path, false, Missing::Fail)
    }

    fn opened(path: &Path, created: bool, missing: Missing) -> Result<Self, StoreError> {
        let unreadable = |source| StoreError::Unreadable { path: path.to_owned(), source };
        if missing == Missing::Fail {
            schema::is_there(path)?;
        }
        let before = Identity::of(path).map_err(unreadable)?;
        let writer = schema::open_writer(path, missing)?;
        if created {
            schema::sync_folder(path).map_err(unreadable)?;
        }
        let anchor = Anchor::of(path).map_err(unreadable)?;
        if anchor.identity() != before {
            return Err(StoreError::Replaced { path: path.to_owned() });
        }
        let key = Self::key_of(path, &writer)?;
        Ok(Self {
            path: path.to_owned(),
            key,
            created,
            anchor,
            writer: Mutex::new(Some(writer)),
            readers: Mutex::default(),
        })
    }

    /// The key beside the store, which is made before the first session is: so whoever sees a
    /// session and then looks for the key finds it, however many open a new store at once.
    fn key_of(path: &Path, writer: &Connection) -> Result<MacKey, StoreError> {
        let is_used = has_rows(writer).map_err(|source| database(path, source))?;
        let key_path = key::path_beside(path);
        match key::read(&key_path)? {
            Some(key) => Ok(key),
            None if is_used => Err(StoreError::KeyMissing { path: key_path }),
            None => key::make(&key_path),
        }
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
        self.find_all(&[*key], now)?.pop().unwrap_or(Ok(Found::Missing))
    }

    /// Looks sessions up, all as they are at one moment. A row that is damaged is an error of its
    /// own.
    ///
    /// # Errors
    /// When the store does not answer: that says nothing about any of them (S8).
    pub fn find_all(
        &self,
        keys: &[RowKey],
        now: Stamp,
    ) -> Result<Vec<Result<Found, StoreError>>, StoreError> {
        let rows: Vec<Option<RawRow>> = self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM session WHERE id = ?1");
            let mut find = connection.prepare_cached(&sql)?;
            let mut find = |key: &RowKey| find.query_row([key.as_bytes()], RawRow::read).optional();
            // One statement is a moment of its own.
            let moment =
                (keys.len() > 1).then(|| connection.unchecked_transaction()).transpose()?;
            let rows = keys.iter().map(&mut find).collect();
            if let Some(moment) = moment {
                moment.finish()?;
            }
            rows
        })?;
        Ok(rows.into_iter().map(|row| Found::of(row, now)).collect())
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
        self.write(Durable::Now, |connection| {
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
        self.write(Durable::Now, |connection| {
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
        self.write(Durable::Later, |connection| {
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

    /// Removes at most [`Store::SWEEP`] sessions that ended before `ended`, those first that ended
    /// first.
    ///
    /// # Errors
    /// When the store does not take it.
    pub fn sweep(&self, ended: Stamp) -> Result<Swept, StoreError> {
        self.write(Durable::Later, |connection| {
            let removed = connection.execute(
                "DELETE FROM session WHERE id IN
                 (SELECT id FROM session WHERE ends_at < ?1 ORDER BY ends_at LIMIT ?2)",
                params![ended.millis(), Self::SWEEP as i64],
            )?;
            let next: Option<i64> =
                connection.query_row("SELECT min(ends_at) FROM session", [], |row| row.get(0))?;
            Ok(Swept { removed, next: next.map(Stamp::from_millis) })
        })
    }

    /// Rows removed in one go (S9): more would hold the write lock for long.
    pub const SWEEP: usize = 500;

    /// Whether the files at the store's path are still those that were opened.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] when they are not, from then on.
    pub fn check(&self) -> Result<(), StoreError> {
        let checked = self.anchor.check();
        if let Err(StoreError::Replaced { .. }) = &checked {
            // What is held open keeps locks in the log's files, where they are in the way of
            // whoever makes another store at that path. Whoever uses a connection now does the
            // same when it has ended.
            lock(&self.readers).clear();
            if let Ok(mut writer) = self.writer.try_lock() {
                writer.take();
            }
        }
        checked
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
        let inserted = self.write(Durable::Now, |connection| {
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
        self.check()?;
        let idle = lock(&self.readers).pop();
        let reader = idle.map_or_else(|| schema::open_reader(&self.path), Ok);
        let reader = reader.map_err(|source| database(&self.path, source))?;
        let answer = ask(&reader).map_err(|source| database(&self.path, source))?;
        // Of other files it would be no answer.
        self.check()?;
        // One that failed is dropped instead: the next look-up opens a fresh one.
        lock(&self.readers).push(reader);
        Ok(answer)
    }

    fn write<T>(
        &self,
        durable: Durable,
        say: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.check()?;
        let mut writer = lock(&self.writer);
        let Some(connection) = &mut *writer else {
            return Err(StoreError::Replaced { path: self.path.clone() });
        };
        let said = connection
            .pragma_update(None, "synchronous", durable.level())
            .and_then(|()| say(connection))
            .map_err(|source| database(&self.path, source))?;
        drop(writer);
        self.check()?;
        Ok(said)
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

/// What a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Rows it removed: fewer than [`Store::SWEEP`] means that none is left.
    pub removed: usize,
    /// When the next of the sessions that are left ends.
    pub next: Option<Stamp>,
}

/// What opening does where there is no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Fail,
    Make,
}

/// When a change has to survive the machine's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durable {
    /// With one of the next: a use that is forgotten is noted again.
    Later,
    /// Before it is acknowledged: a session that was ended must not come back.
    Now,
}

impl Durable {
    /// SQLite's word for it, with WAL.
    fn level(self) -> &'static str {
        match self {
            Self::Later => "NORMAL",
            Self::Now => "FULL",
        }
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

#[cfg(test)]
mod tests;
