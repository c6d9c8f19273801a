//! What can be said of a store without changing anything in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Stamp,
    error::StoreError,
    key,
    schema::{self, Layout},
};

/// A look at a store that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Rows there are.
    pub rows: i64,
    /// Those of sessions in force.
    pub live: i64,
    /// When the first of them was made.
    pub oldest: Option<Stamp>,
    /// When the last of them was made.
    pub newest: Option<Stamp>,
    /// The size of the file.
    pub bytes: u64,
    /// The size of the log of writes beside it that are not in the file yet.
    pub log_bytes: u64,
    /// Whether the file was read through for damage; a large one is not.
    pub checked: bool,
}

impl Survey {
    /// Looks at the store at `path`. `None` if there is none yet.
    ///
    /// # Errors
    /// When a gateway could not use it: what [`Store::open`](super::Store::open) fails with, and a
    /// store that nobody can write to now.
    pub fn take(path: &Path, now: Stamp) -> Result<Option<Self>, StoreError> {
        let bytes = match fs::metadata(path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Unreadable { path: path.to_owned(), source }),
        };
        schema::is_file(path)?;
        if bytes == 0 {
            return Ok(None);
        }
        let database = |source| StoreError::Database { path: path.to_owned(), source };
        let (connection, layout) = schema::open_known(path)?;
        if layout == Layout::Empty {
            return Ok(None);
        }
        // Takes the lock that a write needs, and gives it back.
        connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(database)?;
        let (rows, live, oldest, newest): (_, _, Option<i64>, Option<i64>) = connection
            .query_row(
                "SELECT count(*), count(*) FILTER (WHERE revoked_at IS NULL AND ends_at > ?1),
                 min(created_at), max(created_at) FROM session",
                [now.millis()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .map_err(database)?;
        let key_path = key::path_beside(path);
        if key::read(&key_path)?.is_none() && rows > 0 {
            return Err(StoreError::KeyMissing { path: key_path });
        }
        let checked = bytes <= CHECKED;
        if checked {
            let said: String = connection
                .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
                .map_err(database)?;
            if said != "ok" {
                return Err(StoreError::Corrupt { what: said });
            }
        }
        Ok(Some(Self {
            rows,
            live,
            oldest: oldest.map(Stamp::from_millis),
            newest: newest.map(Stamp::from_millis),
            bytes,
            log_bytes: fs::metadata(log_beside(path)).map_or(0, |found| found.len()),
            checked,
        }))
    }
}

/// Where SQLite keeps what is written and not in the file yet.
pub fn log_beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Reading more than this would take longer than somebody who waits likes.
const CHECKED: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::super::{Life, Span, Store};
    use super::*;

    const LIFE: Life = Life { absolute: Span::seconds(100), idle: None };

    #[test]
    fn a_survey_counts_and_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.db");
        assert_eq!(Survey::take(&path, Stamp::now()).unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let store = Store::open(&path).unwrap();
        let at = |millis| Stamp::from_millis(millis);
        for made in [1_000, 2_000, 90_000] {
            store.create(&"42".parse().unwrap(), LIFE, at(made)).unwrap();
        }
        let survey = Survey::take(&path, at(101_500)).unwrap().unwrap();
        assert_eq!((survey.rows, survey.live), (3, 2));
        assert_eq!((survey.oldest, survey.newest), (Some(at(1_000)), Some(at(90_000))));
        assert!(survey.checked && survey.bytes > 0);
    }

    #[test]
    fn a_store_that_somebody_else_writes_to_for_ever_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.db");
        drop(Store::open(&path).unwrap());
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let said = Survey::take(&path, Stamp::now()).unwrap_err().to_string();
        assert!(said.contains("locked"), "{said}");
        other.execute_batch("ROLLBACK").unwrap();
        Survey::take(&path, Stamp::now()).unwrap().unwrap();
    }

    #[test]
    fn a_store_that_lost_its_key_or_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.db");
        let store = Store::open(&path).unwrap();
        store.create(&"42".parse().unwrap(), LIFE, Stamp::now()).unwrap();
        fs::remove_file(key::path_beside(&path)).unwrap();
        let refused = Survey::take(&path, Stamp::now()).unwrap_err();
        assert!(matches!(refused, StoreError::KeyMissing { .. }), "{refused}");
        Survey::take(dir.path(), Stamp::now()).expect_err("a folder");
        fs::write(&path, [b'x'; 5000]).unwrap();
        Survey::take(&path, Stamp::now()).expect_err("no database");
    }
}
