//! `thence-gate session create | list | revoke`: what each does and prints.

use std::fmt::Write as _;

use serde_json::json;

use super::{Account, Cookie, Handle, Life, Row, Stamp, State, Store, cookie, store::Created};
use crate::{address, exit::Trouble};

/// How `session create` prints the new session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `sessionId=..`, as it stands in a `Cookie` line.
    #[default]
    Cookie,
    /// A curl command that uses it.
    Curl,
    /// Its public id, as `session list` shows it. The secret is not printed, and then lost.
    Id,
    /// Everything, `Set-Cookie` included, as one JSON object.
    Json,
}

/// Which sessions `session revoke` ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every one of an account.
    Account(Account),
    /// The one of that id.
    One(Handle),
    /// The one whose cookie this is.
    Presenting(String),
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(handle) = Handle::parse(text) {
            return Ok(Self::One(handle));
        }
        let mut names = Cookie::ALL.iter().map(|cookie| cookie.name());
        let value = names.find_map(|name| text.strip_prefix(name)?.strip_prefix('='));
        match value.unwrap_or(text) {
            value if value.contains('.') => Ok(Self::Presenting(value.to_owned())),
            _ => Err("expected the 24 digits that `session list` shows, or a cookie".into()),
        }
    }
}

/// Makes a session and says it in the format asked for.
///
/// # Errors
/// When the store does not take it.
pub fn create(
    store: &Store,
    account: &Account,
    life: Life,
    cookie: Cookie,
    format: Format,
    now: Stamp,
) -> Result<String, Trouble> {
    let Created { handle, value } = store.create(account, life, now)?;
    let name = cookie.name();
    let url = match cookie {
        Cookie::Plain => format!("http://{}/", address::DEFAULT_LISTEN),
        Cookie::Secure => format!("https://{}/", address::DEFAULT_LISTEN_TLS),
    };
    Ok(match format {
        Format::Cookie => format!("{name}={value}\n"),
        Format::Curl => format!("curl -i -b {name}={value} {url}\n"),
        Format::Id => format!("{handle}\n"),
        Format::Json => {
            let expires = now.after(life.absolute).millis() / 1000;
            let set_cookie = cookie::set_cookie(cookie, &value, life.absolute);
            let object = json!({
                "id": handle.as_str(),
                "account": account.as_str(),
                "cookie": format!("{name}={value}"),
                "set_cookie": set_cookie,
                "expires": expires,
                "idle_seconds": life.idle.map(|idle| idle.millis() / 1000),
            });
            format!("{object}\n")
        }
    })
}

/// The sessions as a table, newest first.
///
/// # Errors
/// When the store does not answer.
pub fn list(store: &Store, account: Option<&Account>, now: Stamp) -> Result<String, Trouble> {
    let rows = store.list(account)?;
    let widest = rows.iter().map(|row| row.account.as_str().len()).max().unwrap_or(0).max(7);
    let mut table =
        format!("{:24}  {:widest$}  {:>8}  {:>9}  STATE\n", "ID", "ACCOUNT", "AGE", "LAST USED");
    for row in &rows {
        let (age, used) = (now.since(row.created).to_string(), now.since(row.seen).to_string());
        let (id, account) = (row.handle.as_str(), row.account.as_str());
        let state = state(row, now);
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{id:24}  {account:widest$}  {age:>8}  {used:>9}  {state}");
    }
    Ok(table)
}

/// Ends sessions and says how many.
///
/// # Errors
/// When the store does not take it, or when an id is given that is not in force.
pub fn revoke(store: &Store, target: &Target, now: Stamp) -> Result<String, Trouble> {
    match target {
        Target::Account(account) => {
            let ended = store.revoke_account(account, now)?;
            let plural = if ended == 1 { "" } else { "s" };
            Ok(format!("revoked {ended} session{plural} of account {account}\n"))
        }
        Target::Presenting(value) => match store.key().open(value.as_bytes()) {
            Some(id) => revoke(store, &Target::One(id.row_key().handle()), now),
            None => Err(Trouble::new(
                "the cookie was not signed with this store's key",
                "a cookie value as `session create` printed it, of this store",
                "check --store, or give the id that `thence-gate session list` shows",
            )),
        },
        Target::One(handle) if store.revoke(handle, now)? == 0 => Err(Trouble::new(
            format_args!("no session {handle} that could be revoked"),
            "the id of a session that is not revoked yet",
            "see `thence-gate session list`",
        )),
        Target::One(handle) => Ok(format!("revoked session {handle}\n")),
    }
}

fn state(row: &Row, now: Stamp) -> String {
    match row.state(now) {
        State::Live => format!("live, ends in {}", row.ends.since(now)),
        State::Expired => format!("expired {} ago", now.since(row.ends)),
        State::Revoked => {
            format!("revoked {} ago", now.since(row.revoked.unwrap_or(now)))
        }
    }
}
