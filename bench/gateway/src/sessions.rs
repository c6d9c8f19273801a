//! The sessions that the load uses, in a store of the gateway's own.

use std::io;
use std::path::Path;

use thence_gate::session::{Life, Span, Stamp, Store};

/// Sessions in the store, and as many accounts.
pub const SESSIONS: usize = 10_000;

/// A cookie, and whose it is.
#[derive(Clone, Debug)]
pub struct Session {
    /// The value of the `Cookie` field.
    pub cookie: String,
    /// The account that the upstream has to hear of.
    pub account: String,
}

/// Makes a store at `path` and fills it.
///
/// # Errors
///
/// The store's, in words.
pub fn make(path: &Path) -> io::Result<Vec<Session>> {
    let store = Store::open(path).map_err(io::Error::other)?;
    let life = Life { absolute: Span::seconds(86_400), idle: Some(Span::seconds(3_600)) };
    let now = Stamp::now();
    (0..SESSIONS)
        .map(|number| {
            let account = format!("account-{number}");
            let owner = account.parse().map_err(io::Error::other)?;
            let created = store.create(&owner, life, now).map_err(io::Error::other)?;
            Ok(Session { cookie: format!("sessionId={}", created.value), account })
        })
        .collect()
}
