//! Slide "Don't Block the Event Loop", the bad half: the query runs on the loop, and nothing else does.
//!
//! Nobody has to find out by guessing: the watchdog logs the file and line of the handler that blocks,
//! and for how long.

use std::thread;
use std::time::Duration;

use thence::prelude::*;

struct Request {
    account_id: &'static str,
}

struct Account {
    id: u64,
}

impl Account {
    /// A query that takes its time, as queries do.
    fn get(id: u64) -> Account {
        thread::sleep(Duration::from_millis(200));
        Account { id }
    }
}

fn render_index(account: &Account) -> String {
    format!("the index of account {}", account.id)
}

fn handle_event_bad(request: &Request) -> Result<(), Failure> {
    let account_id = request.account_id.parse()?;
    // Bad! Executing SQL will block the event loop
    let account = Account::get(account_id);
    println!("{}", render_index(&account));
    Ok(())
}

fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();

    on(handle_event_bad);
    run(async {
        emit(Request { account_id: "42" });
        Ok(())
    })
}
