//! A session's row, what it is worth, and what a look-up makes of it.

use super::{
    Account, Span, Stamp,
    error::StoreError,
    token::{Handle, RowKey},
};

/// A session's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the store knows it by.
    pub key: RowKey,
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

    pub(super) fn touch_is_due(&self, now: Stamp) -> bool {
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

impl Found {
    pub(super) fn of(row: Option<RawRow>, now: Stamp) -> Result<Self, StoreError> {
        let Some(row) = row.map(RawRow::checked).transpose()? else { return Ok(Self::Missing) };
        Ok(match row.state(now) {
            State::Revoked => Self::Revoked,
            State::Expired => Self::Expired,
            State::Live => Self::Live(Session {
                key: row.key,
                touch: row.touch_is_due(now),
                account: row.account,
                handle: row.handle,
            }),
        })
    }
}

/// A session in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What the store knows it by.
    pub key: RowKey,
    /// Whose it is.
    pub account: Account,
    /// Its public name.
    pub handle: Handle,
    /// Whether its idle clock should be moved now (S4: at most every max(60 s, idle / 20)).
    pub touch: bool,
}

/// A row as SQLite gives it.
pub(super) struct RawRow {
    id: Vec<u8>,
    account: String,
    created: i64,
    seen: i64,
    ends: i64,
    idle: Option<i64>,
    revoked: Option<i64>,
}

impl RawRow {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
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

    pub(super) fn checked(self) -> Result<Row, StoreError> {
        let corrupt = |what: String| StoreError::Corrupt { what };
        let key = RowKey::from_bytes(&self.id)
            .ok_or_else(|| corrupt(format!("a row's id has {} bytes", self.id.len())))?;
        let account: Account = self
            .account
            .parse()
            .map_err(|why| corrupt(format!("session {}: {why}", key.handle())))?;
        Ok(Row {
            key,
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

pub(super) const COLUMNS: &str = "id, account, created_at, seen_at, ends_at, idle, revoked_at";
