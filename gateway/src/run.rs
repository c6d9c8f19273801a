//! From a command line to what it asks for.

use std::{
    io::{ErrorKind, Write as _},
    path::PathBuf,
};

use crate::{
    args::{Cli, Command, SessionCommand},
    doctor,
    exit::{Exit, Trouble},
    place::{Place, Surroundings, make_folder},
    serve,
    session::{
        Cookie, Life, Stamp, Store,
        command::{self, Target},
    },
};

/// Does what the command line asks for.
///
/// # Errors
/// When it cannot be done: what was wrong, what was expected, what to do.
pub fn run(cli: Cli) -> Result<Exit, Trouble> {
    match cli.command {
        None => serve::serve(cli.serve),
        Some(Command::Doctor { serve, json }) => doctor::examine(&serve, json),
        Some(Command::Session { command }) => session(command),
    }
}

fn session(asked: SessionCommand) -> Result<Exit, Trouble> {
    let now = Stamp::now();
    let said = match asked {
        SessionCommand::Create { account, ttl, idle, secure, format, at } => {
            let life = Life { absolute: ttl, idle: idle.0 };
            let cookie = if secure { Cookie::Secure } else { Cookie::Plain };
            let store = open(at.store)?;
            if store.was_created() {
                // Whoever mistyped --store sees it.
                let made = store.path().display();
                let _ = writeln!(std::io::stderr(), "made a new session store: {made}");
            }
            command::create(&store, &account, life, cookie, format, now)?
        }
        SessionCommand::List { account, at } => {
            command::list(&open_existing(at.store)?, account.as_ref(), now)?
        }
        SessionCommand::Revoke { id, account, at } => {
            let target = account.map(Target::Account).or(id);
            // clap has made sure that there is one.
            let Some(target) = target else { return Ok(Exit::Usage) };
            command::revoke(&open_existing(at.store)?, &target, now)?
        }
    };
    print(&said)?;
    Ok(Exit::Done)
}

/// Prints what was asked for.
///
/// # Errors
/// When it cannot be written. A reader that has closed early (`session list | head`) is no failure.
fn print(said: &str) -> Result<(), Trouble> {
    let mut out = std::io::stdout();
    match out.write_all(said.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Trouble::new(
            format_args!("it was done, and what came of it could not be printed: {error}"),
            "a standard output with room",
            "see `thence-gate session list`, and revoke a session whose cookie nobody has",
        )),
        _ => Ok(()),
    }
}

/// Opens the store that was named, or the user's own, and makes it if it is not there.
///
/// # Errors
/// When it is no store, or cannot be opened.
pub fn open(named: Option<Place>) -> Result<Store, Trouble> {
    let is_default = named.is_none();
    let path = store_path(named)?;
    if is_default {
        make_folder(&path)?;
    }
    Ok(Store::open(&path)?)
}

/// Opens the store that was named, or the user's own, which has to be there.
///
/// # Errors
/// When it is not there or no store, or cannot be opened.
pub fn open_existing(named: Option<Place>) -> Result<Store, Trouble> {
    Ok(Store::open_existing(&store_path(named)?)?)
}

/// Where the store that was named lies, or the user's own.
///
/// # Errors
/// When none was named and nothing says where this user's state lies.
pub fn store_path(named: Option<Place>) -> Result<PathBuf, Trouble> {
    match named {
        Some(Place(path)) => Ok(path),
        None => Surroundings::read().default_store(),
    }
}
